"""One trial in this process: what its code returns, raises and reports, as an ending."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pacesetter.leasing.texts import bounded
from pacesetter.protocol import TrialPoint
from pacesetter_workers.conduct import conduct
from pacesetter_workers.errors import ReportRefused
from pacesetter_workers.outcome import Done, Failed, Outcome, Stopped
from pacesetter_workers.proxies import BUILT_IN, resolve
from pacesetter_workers.running import RunningTrial
from pacesetter_workers.site import Site

from tests.workers.support import OWN, Recorded, a_trial, allowing


def test_a_number_that_is_returned_is_the_loss_and_reports_add_up_to_the_cost(
    tmp_path: Path,
) -> None:
    channel = Recorded()

    ending = conduct(a_trial("quadratic", lr=0.25), allowing(tmp_path, "quadratic"), channel)

    assert isinstance(ending, Done)
    # x = 1, halved twice.
    assert ending.outcome == Outcome(loss=0.0625)
    assert [(point.step, point.lr, point.loss) for point in channel.points] == [
        (1, 0.25, 0.25),
        (2, 0.25, 0.0625),
    ]
    assert (ending.cost.steps, ending.cost.tokens, ending.cost.flops) == (2, 16.0, 200.0)
    assert 0.0 < ending.cost.seconds < 60.0


def test_an_infinite_loss_ends_a_trial_where_it_was_reported_as_a_result(tmp_path: Path) -> None:
    channel = Recorded()

    ending = conduct(a_trial("overflows"), allowing(tmp_path, "overflows"), channel)

    assert isinstance(ending, Done)
    assert ending.outcome == Outcome(loss=None)
    assert (ending.cost.steps, ending.cost.tokens) == (2, 8.0)
    assert math.isinf(channel.points[-1].loss)


def test_cancelling_ends_a_trial_that_catches_every_exception(tmp_path: Path) -> None:
    channel = Recorded(cancel_at=3)

    ending = conduct(a_trial("swallows"), allowing(tmp_path, "swallows"), channel)

    assert ending == Stopped()
    assert len(channel.points) == 3


def test_an_exception_fails_the_trial_for_good_with_its_traceback(tmp_path: Path) -> None:
    ending = conduct(a_trial("broken"), allowing(tmp_path, "broken"), Recorded())

    assert isinstance(ending, Failed)
    assert ending.retry is False
    assert 'own.py", line' in ending.error
    assert ending.error.endswith("ZeroDivisionError: float division by zero")
    assert ending.cost.steps == 1


def test_a_step_that_is_reported_twice_is_refused(tmp_path: Path) -> None:
    ending = conduct(a_trial("reports_twice"), allowing(tmp_path, "reports_twice"), Recorded())

    assert isinstance(ending, Failed)
    assert (
        "step 10 was reported after step 10 (loss 2 now); a step is reported once" in ending.error
    )


@pytest.mark.parametrize(
    ("reported", "message"),
    [
        ({"step": 1.5}, "step is 1.5; expected the number of optimizer steps done"),
        ({"step": True}, "step is True"),
        ({"step": -1}, "step is -1"),
        ({"step": 1, "tokens": -1.0}, "tokens is -1.0; expected what was spent"),
        ({"step": 1, "flops": math.nan}, "flops is nan"),
    ],
)
def test_a_report_that_no_curve_can_hold_is_refused(
    tmp_path: Path, reported: dict[str, Any], message: str
) -> None:
    channel = Recorded()
    running = RunningTrial(a_trial("noop"), tmp_path, channel)

    with pytest.raises(ReportRefused, match=message):
        running.report(loss=1.0, **reported)
    assert channel.points == []


def test_numbers_of_numpy_and_torch_are_numbers(tmp_path: Path) -> None:
    channel = Recorded()
    running = RunningTrial(a_trial("noop"), tmp_path, channel)

    running.report(np.int64(3), loss=torch.tensor(0.5), lr=np.float32(0.25))

    assert channel.points == [TrialPoint(step=3, lr=0.25, loss=0.5)]


def test_an_attempt_that_fails_counts_what_no_checkpoint_carries_on(tmp_path: Path) -> None:
    running = RunningTrial(a_trial("noop"), tmp_path, Recorded())
    running.report(4, loss=1.0, tokens=40.0)
    running.checkpoint({"done": 4})
    running.report(6, loss=1.0, tokens=20.0)

    again = RunningTrial(a_trial("noop", attempt=2), tmp_path, Recorded())
    state = again.restore()
    again.report(6, loss=1.0, tokens=20.0)

    assert (running.unkept_cost.steps, running.unkept_cost.tokens) == (2, 20.0)
    assert state == {"done": 4}
    assert (again.cost.steps, again.cost.tokens) == (6, 60.0)
    # What both report together is what was trained: 4 + 2 steps, and 2 again.
    assert again.cost.tokens + running.unkept_cost.tokens == 80.0


def test_running_out_of_memory_is_the_machines_fault_and_says_what_to_do(tmp_path: Path) -> None:
    ending = conduct(a_trial("greedy"), allowing(tmp_path, "greedy"), Recorded())

    assert isinstance(ending, Failed)
    assert ending.retry is True
    assert "MemoryError" in ending.error
    assert "fewer slots" in ending.error


def test_leaving_the_interpreter_leaves_the_trial(tmp_path: Path) -> None:
    ending = conduct(a_trial("exits"), allowing(tmp_path, "exits"), Recorded())

    assert isinstance(ending, Failed)
    assert ending.error.endswith("SystemExit: no data here")


def test_what_is_no_outcome_is_refused(tmp_path: Path) -> None:
    ending = conduct(a_trial("wordy"), allowing(tmp_path, "wordy"), Recorded())

    assert isinstance(ending, Failed)
    assert "the proxy returned a str; expected an Outcome" in ending.error


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("bite_lm", "no proxy is called 'bite_lm'; expected one of byte_lm, cnn, mlp, noop"),
        (f"{OWN}:broken", f"starting it with --allow {OWN}:broken"),
        ("tests.workers.nowhere:train", "there is no module 'tests.workers.nowhere'"),
        (f"{OWN}:missing", f"'{OWN}' has no function 'missing'"),
        (f"{OWN}:__doc__", f"'{OWN}' has no function '__doc__'"),
    ],
)
def test_a_proxy_that_cannot_run_fails_its_trial_with_what_to_do(
    tmp_path: Path, proxy: str, message: str
) -> None:
    site = Site(tmp_path, ("tests.workers.nowhere:train", f"{OWN}:missing", f"{OWN}:__doc__"))
    # As a controller sends it: a name that the protocol takes.
    trial = a_trial("noop").model_copy(update={"proxy": proxy})

    ending = conduct(trial, site, Recorded())

    assert isinstance(ending, Failed)
    assert message in ending.error
    assert "Traceback" not in ending.error
    assert ending.retry is False


def test_every_built_in_proxy_is_there() -> None:
    assert [resolve(name, ()).__name__ for name in BUILT_IN] == list(BUILT_IN)


def test_a_long_traceback_keeps_its_end_and_no_nul() -> None:
    text = bounded("x" * 50_000 + "\0 the exception")

    assert len(text) == 20_000
    assert text.startswith("[...]\nx")
    assert text.endswith("x\\0 the exception")


def test_the_same_seed_gives_the_code_of_a_trial_the_same_random_numbers(tmp_path: Path) -> None:
    site = allowing(tmp_path, "draws")

    endings = [conduct(a_trial("draws"), site, Recorded()) for _ in range(2)]
    drawn = [ending.outcome.metrics for ending in endings if isinstance(ending, Done)]

    assert drawn[0] == drawn[1]
    # random.Random(7), numpy.random.RandomState(7) and torch.manual_seed(7), drawn by themselves.
    assert drawn[0] == {
        "python": pytest.approx(0.32383276483316237),
        "numpy": pytest.approx(0.07630828937395717),
        "torch": pytest.approx(0.5349, abs=1e-4),
    }
