"""The example that goes from an experiment over HTTP to a trained model, with its real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pacesetter_workers.conduct import conduct
from pacesetter_workers.outcome import Done
from pacesetter_workers.site import Site

from examples.transfer_study import Sizes, study, sweep
from tests.workers.support import Recorded, a_trial

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 300.0
"""Five times what it takes on two cores."""


def transfer_study(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the example as a user does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PACESETTER_DIR": str(folder)}
    environment.pop("PACESETTER_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "examples.transfer_study", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the example finds at its quick size."""
    folder = tmp_path_factory.mktemp("transfer")
    ended = transfer_study(folder, "--quick", "--json", str(folder / "figures.json"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return found


def test_the_job_ends_near_the_best_of_the_sweep_for_a_fraction_of_its_cost(
    figures: dict[str, Any],
) -> None:
    # The bars are 1 % and 25 %; the first one is the default size's, and this one has forty steps at the most.
    assert figures["above_best"] <= 0.03
    assert figures["shares"]["flops"] <= 0.25
    assert figures["proxies"] >= 8


def test_the_answer_says_whether_rates_carry_over_to_the_real_width(
    figures: dict[str, Any],
) -> None:
    check = figures["coordinates"]
    assert check["widths"] == [16, 32, 64]
    assert check["slopes"].keys() >= {"blocks.0", "blocks.1", "readout"}
    # Without muP it is .9 and more; widths this small scatter around the bound of .15.
    assert max(map(abs, check["slopes"].values())) < 0.3
    assert check["status"] == (
        "passed" if max(map(abs, check["slopes"].values())) <= 0.15 else "failed"
    )
    assert check["flops"] > 0.0


def test_the_sweep_has_its_best_rate_inside_and_the_recommendation_lies_within_an_octave_of_it(
    figures: dict[str, Any],
) -> None:
    losses = {float(lr): loss for lr, loss in figures["sweep"].items()}
    best = min(losses, key=lambda lr: float(losses[lr]))
    assert sorted(losses) == [2.0**octave for octave in range(-9, -2)]
    assert 2.0**-9 < best < 2.0**-3
    assert best / 2.0 <= figures["recommended_lr"] <= 2.0 * best


def test_the_job_is_the_trial_of_the_sweep_at_its_rate(
    figures: dict[str, Any], tmp_path: Path
) -> None:
    sizes = Sizes(**figures["sizes"])
    trial = a_trial("byte_lm", lr=figures["recommended_lr"], **sweep(sizes)["fixed"])

    ending = conduct(trial, Site(tmp_path), Recorded())

    assert isinstance(ending, Done)
    assert ending.outcome.loss == pytest.approx(figures["loss"], rel=1e-5)


def test_the_real_model_is_four_times_as_wide_and_trains_four_times_as_long_as_any_proxy() -> None:
    spec = study(Sizes(narrow=32, steps=1200, batch=16))
    assert spec["strategy"]["parameters"]["target"] == {"width": 4 * 32, "steps": 4 * 300}
    assert spec["fixed"]["width"] == 32
    assert spec["space"]["steps"]["values"] == [75, 150, 300]


def test_a_width_that_no_model_can_have_ends_the_example_with_the_reason_of_its_trials(
    tmp_path: Path,
) -> None:
    ended = transfer_study(tmp_path, "--quick", "--narrow", "24")
    assert ended.returncode == 1
    assert "width is 24; expected a multiple of 16" in ended.stderr
    assert "Traceback (most recent call last)" not in ended.stderr.partition("went wrong")[0]
