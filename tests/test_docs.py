"""The Python in the guides runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pacesetter.schedules import FAMILIES, Schedule

GUIDE = Path(__file__).parents[1] / "docs" / "client.md"
SCHEDULES = GUIDE.with_name("schedules.md")


def test_the_client_guide_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACESETTER_MODE", "offline")
    monkeypatch.setenv("PACESETTER_DIR", str(tmp_path))
    torch.manual_seed(0)
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)


def test_the_schedules_page_runs_and_has_a_row_for_every_family_with_its_tier() -> None:
    text = SCHEDULES.read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, str(SCHEDULES), "exec"), names)
    law = names["law"]

    assert isinstance(law, Schedule)
    assert law.at(1e11) == pytest.approx(0.01005, rel=1e-3)
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", text, re.MULTILINE)
    assert dict(rows) == {name: family.tier for name, family in FAMILIES.items()}


def test_the_guide_to_schedules_without_the_service_runs_from_top_to_bottom() -> None:
    torch.manual_seed(0)
    page = GUIDE.with_name("schedules-howto.md")
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


def test_the_guide_to_projection_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACESETTER_MODE", "offline")
    monkeypatch.setenv("PACESETTER_DIR", str(tmp_path))
    torch.manual_seed(0)
    page = GUIDE.with_name("projection.md")
    (block,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, str(page), "exec"), names)
    initial = names["projection"].state_dict()["norms"]
    held = {name: float(norm) for name, norm in initial.items()}
    assert names["projection"].norms() == pytest.approx(held, rel=1e-5)
    assert names["run"].position == 100


def test_the_guide_to_mup_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    page = GUIDE.with_name("mup.md")
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    rates = {group["name"]: group["lr"] for group in names["optimizer"].param_groups}
    assert rates["hidden"] == pytest.approx(2**-6 / 4)
    assert names["check"].passed
    assert "passed" in capsys.readouterr().out
