from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import address
from benchmarks.quality.address import closure, code_hash
from benchmarks.quality.cache import Cache
from benchmarks.quality.pool import Pool, WorkFailed
from benchmarks.quality.tasks import named
from benchmarks.quality.work import Training, Work

(LOGISTIC,) = named("digits-logistic")


@dataclass(frozen=True)
class Counted(Work):
    """Work that writes a line each time it is done, and fails if told to."""

    number: int
    log: Path
    fails: bool = False

    def run(self) -> dict[str, Any]:
        with self.log.open("a") as log:
            log.write(f"{self.number}\n")
        if self.fails:
            raise ZeroDivisionError("told to")
        return {"square": self.number**2, "loss": float("inf")}

    def document(self) -> dict[str, Any]:
        return {"number": self.number, "fails": self.fails}

    def modules(self) -> tuple[str, ...]:
        return ("benchmarks.quality.engine",)

    def about(self) -> str:
        return f"number {self.number}"


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Cache(tmp_path / "cache") as cache, Pool(cache, processes=0, quiet=True) as opened:
        yield opened


def test_work_is_done_once_even_by_another_pool(tmp_path: Path) -> None:
    log = tmp_path / "log"
    works = [Counted(number, log) for number in (3, 4, 3)]
    for _ in range(2):
        with Cache(tmp_path / "cache") as cache, Pool(cache, 0, quiet=True) as pool:
            results = pool.results(works)
            assert [result["square"] for result in results] == [9, 16, 9]
            assert results[0]["loss"] == float("inf")
            assert len(cache) == 2
    assert sorted(log.read_text().split()) == ["3", "4"]


def test_an_error_leaves_the_rest_done_and_kept(pool: Pool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    works = [Counted(1, log, fails=True), Counted(2, log)]
    with pytest.raises(WorkFailed, match=r"1 pieces of work failed(.|\n)*number 1: ZeroDivision"):
        pool.results(works)
    found, failures = pool.attempt(works)
    assert [failure.split(":")[0] for failure in failures] == ["number 1"]
    assert found[works[1].address]["square"] == 4
    assert log.read_text().split().count("2") == 1


def test_an_address_depends_on_what_changes_the_result() -> None:
    work = Training(LOGISTIC, "linear", 0.5, 100, seed=0)
    recipe = replace(LOGISTIC.recipe, batch=16)  # type: ignore[type-var]  # it is a dataclass
    others = [
        replace(work, shape="cosine"),
        replace(work, lr=0.25),
        replace(work, steps=101),
        replace(work, seed=1),
        replace(work, task=replace(LOGISTIC, recipe=recipe)),
    ]
    assert len({work.address, *(other.address for other in others)}) == 6


def test_an_address_does_not_depend_on_names_and_defaults() -> None:
    renamed = replace(LOGISTIC, name="other", default_lr=9.0, lr_grid_center=1.0)
    work = Training(LOGISTIC, "linear", 0.5, 100, seed=0)
    assert replace(work, task=renamed).address == work.address


def test_comments_layout_and_docstrings_change_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "ROOT", tmp_path)
    texts = {
        "plain": "def f(x):\n    return x + 1\n",
        "same": '"""A module."""\n# why\ndef f(x):\n    """Add one."""\n    return (x\n            + 1)\n',
        "other": "def f(x):\n    return x + 2\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}_module.py").write_text(text)
    hashes = {name: code_hash(f"{name}_module") for name in texts}
    assert hashes["plain"] == hashes["same"] != hashes["other"]


def test_the_code_behind_a_result_includes_what_it_imports_but_no_other_kind_of_task() -> None:
    found = closure(["benchmarks.quality.tasks.language"])
    assert {"demo.model", "demo.text", "benchmarks.quality.tasks.base"} <= found
    assert "benchmarks.quality.tasks.policy" not in found
    assert "benchmarks.quality.tasks" not in found
