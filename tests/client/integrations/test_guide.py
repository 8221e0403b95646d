"""The Python in the guide to Ray Tune runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import ControllerProcess, eventually

GUIDE = Path(__file__).parents[3] / "docs" / "ray-tune.md"


@pytest.mark.slow
def test_the_guide_runs_and_its_trials_are_in_the_service(
    ray: None, controller: ControllerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACESETTER_URL", controller.url)
    monkeypatch.setenv("PACESETTER_DIR", str(tmp_path / "journal"))
    (block,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    # Where Tune keeps its results is the reader's own; here it is the test's.
    exec(block.replace("RunConfig(", f"RunConfig(storage_path={str(tmp_path)!r}, "), names)

    searcher = names["tuner"]._local_tuner._tune_config.search_alg
    searcher.close()
    path = f"/v1/experiments/{searcher.experiment}"
    eventually(lambda: controller.get(path)["status"] == "completed", "the experiment's end")
    assert controller.get(path)["trials"]["done"] == 4
    jobs = controller.get("/v1/jobs", page_size=100)["jobs"]
    assert sorted(job["status"] for job in jobs) == ["completed"] * 4
    assert len(names["results"]) == 4
