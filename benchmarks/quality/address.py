"""Where a result is kept: a hash of everything that it depends on, so that a change of code asks for a new one."""

import ast
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OWN_PACKAGES = ("benchmarks", "demo")
"""Imports that are followed. Schedules come from the client and are held in place by its own tests."""


def address(document: Mapping[str, Any], modules: Iterable[str]) -> str:
    """Return the address of a result that ``document`` describes and the code of ``modules`` makes."""
    whole = {
        "what": document,
        "code": {name: code_hash(name) for name in sorted(closure(modules))},
        "versions": _versions(),
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def describe(value: Any) -> Any:
    """Return a frozen dataclass as JSON values, with the names of its classes."""
    if is_dataclass(value) and not isinstance(value, type):
        described = {field.name: describe(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **described}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    return value


@lru_cache(maxsize=256)
def code_hash(module: str) -> str:
    """Return a hash of what a module does: its syntax tree without comments, layout and docstrings."""
    return _meaning(_file_of(module))


@lru_cache(maxsize=4)
def tree_hash(folder: str) -> str:
    """Return a hash of what all modules under a folder of the repository do."""
    files = sorted((ROOT / folder).rglob("*.py"))
    parts = [f"{path.relative_to(ROOT).as_posix()} {_meaning(path)}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kept = [part for part in node.body if not _is_docstring(part)]
            node.body = kept or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def closure(modules: Iterable[str]) -> frozenset[str]:
    """Return the modules and all modules of this project that they import, directly or not."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_imports(name))
    return frozenset(found)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@lru_cache(maxsize=256)
def _imports(module: str) -> tuple[str, ...]:
    tree = ast.parse(_file_of(module).read_bytes())
    names = [
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    ]
    return tuple(name for name in names if name.partition(".")[0] in OWN_PACKAGES)


def _file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    package = path / "__init__.py"
    return package if package.is_file() else path.with_suffix(".py")


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    # The language models' text is that of the Python that runs them.
    packages = {name: metadata.version(name) for name in ("torch", "numpy", "scikit-learn")}
    return {"python": platform.python_version(), **packages}
