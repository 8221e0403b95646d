"""Whole jobs whose main line overfits."""

from dataclasses import dataclass
from typing import Any

import pytest
from pacesetter.limits import Limits
from pacesetter.protocol import Capabilities, Segment
from pacesetter_search.contract import Strategy
from pacesetter_search.guard import Guarded
from pacesetter_search.strategies.zero_tuning import pieces, value

from tests.search.strategies.zero_tuning.test_jobs import TOTAL, facts, zero_tuning
from tests.search.support.guarded import GuardedJob
from tests.search.support.peaks import KnownPeaks
from tests.search.support.simulator import SimulatedJob

REPEATED = Capabilities.model_validate(
    {
        "rollback": "memory",
        "rewind_batches": "unlimited",
        "validate": True,
        "epoch_batches": TOTAL // 50,
    }
)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value, "DRAWS", 600)
    monkeypatch.setattr(value, "OUTCOMES", 30)


@dataclass
class LearnedByHeart(KnownPeaks):
    """Training brings validation down till ``turning`` and up after it, by what the rates add up to."""

    turning: float = 0.2
    carried: float = 0.0

    def step(self, lr: float) -> float:
        """Take one step; the training loss falls all the way."""
        self.steps += 1
        self.peak = max(self.peak, lr)
        self.carried += lr / self.peak / self.total if self.peak > 0.0 else 0.0
        return 4.0 - 3.0 * self.carried

    def validate(self) -> float:
        """Return a valley around ``turning``."""
        return 1.0 + 4.0 * (self.carried - self.turning) ** 2 / self.turning

    def save(self) -> tuple[Any, int]:
        """Return the whole state."""
        return (self.peak, self.carried), self.steps

    def restore(self, state: tuple[Any, int], *, rewind: bool) -> None:
        """Bring a state back."""
        del rewind
        (self.peak, self.carried), self.steps = state


def run(
    landscape: KnownPeaks | None = None,
    parameters: dict[str, Any] | None = None,
    *,
    limits: Limits | None = None,
    strategy: Strategy | None = None,
    **simulated: Any,
) -> SimulatedJob:
    job = facts(lr=2.0**-6, capabilities=REPEATED, overhead_cap=0.0, limits=limits or Limits())
    return SimulatedJob(
        strategy or zero_tuning(**(parameters or {})),
        job,
        landscape=landscape or LearnedByHeart(TOTAL),  # type: ignore[arg-type]
        **simulated,
    ).run()


def codes(job: SimulatedJob) -> list[str]:
    return [entry.code for entry in job.controller.log]


def mains(job: SimulatedJob) -> list[Segment]:
    return [one for one in job.controller.segments if one.kind == "main"]


def test_an_overfitting_main_line_ends_near_its_best_state_after_exactly_its_budget() -> None:
    job = run()
    assert codes(job).count("overfits") == codes(job).count("cooled_down") == 1
    assert job.landscape.validate() < 1.05
    assert len(job.main_losses) == TOTAL
    assert job.follower.position == TOTAL
    assert "fell_back" not in codes(job)
    unguarded = run(parameters={"overfitting_guard": False})
    assert unguarded.landscape.validate() > 3.0


def test_the_pieces_are_one_schedule() -> None:
    job = run(LearnedByHeart(TOTAL, turning=2.0))
    whole = run(parameters={"overfitting_guard": False})
    assert "overfits" not in codes(job)
    assert len(mains(job)) == len(pieces.ends(TOTAL))
    assert len(mains(whole)) == 1
    assert job.main_multipliers == whole.main_multipliers


def test_at_most_three_states_are_kept_at_a_time() -> None:
    job = run()
    kept: set[str] = set()
    for one in mains(job):
        kept -= set(one.release)
        if one.save_end_as is not None:
            kept.add(one.save_end_as)
        assert len(kept) <= 4  # the newest is not there yet


def test_the_reason_has_the_curve_and_the_noise() -> None:
    (entry,) = [entry for entry in run().controller.log if entry.code == "overfits"]
    assert {"positions", "validation", "training", "noise", "rise", "epochs"} <= set(entry.numbers)
    assert entry.numbers["epochs"] == 50.0


def test_a_job_that_may_be_shorter_ends_after_the_cooldown() -> None:
    job = run(limits=Limits(allow_shorter_main=True))
    assert job.landscape.validate() < 1.05
    assert len(job.main_losses) < 0.8 * TOTAL
    longer = run(parameters={"stop_early": False}, limits=Limits(allow_shorter_main=True))
    assert len(longer.main_losses) == TOTAL


def test_a_cooldown_that_made_it_worse_is_taken_back() -> None:
    @dataclass
    class Cliff(LearnedByHeart):
        def validate(self) -> float:
            beyond = max(0.0, self.carried - self.turning)
            return 2.0 - self.carried / self.turning + 100.0 * beyond

    job = run(Cliff(TOTAL))
    text = next(entry.text for entry in job.controller.log if entry.code == "cooled_down")
    assert "brought back" in text
    assert job.landscape.validate() < 1.3


def test_a_job_that_sees_its_data_once_gets_one_main_segment() -> None:
    assert not pieces.repeats(facts())
    assert pieces.repeats(facts(capabilities=REPEATED))


@pytest.mark.parametrize("delay", [1, 30, 200])
def test_late_answers_leave_the_main_line_its_schedule_and_its_length(delay: int) -> None:
    job = run(delay=delay)
    assert job.landscape.validate() < 1.3
    assert len(job.main_losses) <= 1.15 * TOTAL
    assert job.follower.position == TOTAL


def test_a_state_that_is_gone_leaves_the_main_line_as_it_was() -> None:
    def refuse(segment: Segment) -> str | None:
        return "NO_CHECKPOINT" if segment.source.startswith("main-") else None

    job = run(refuse=refuse)
    whole = run(parameters={"overfitting_guard": False})
    assert "overfits" in codes(job)
    assert job.main_multipliers == whole.main_multipliers


def test_the_guard_of_spikes_and_this_one_work_side_by_side() -> None:
    job = GuardedJob(
        Guarded(zero_tuning()),
        facts(lr=2.0**-6, capabilities=REPEATED, overhead_cap=0.15),
        landscape=LearnedByHeart(TOTAL),  # type: ignore[arg-type]
    ).run()
    assert "overfits" in codes(job)
    assert not [code for code in codes(job) if code.startswith("guard_")]
    assert job.landscape.validate() < 1.05


def spoiled(place: int) -> GuardedJob:
    """Return a job whose loss is NaN once, on the main line's step to ``place``."""
    seen: list[int] = []

    def spoil(job: GuardedJob, loss: float) -> float:
        if job.follower.on_main_line and job.follower.position == place - 1 and not seen:
            seen.append(place)
            return float("nan")
        return loss

    return GuardedJob(
        Guarded(zero_tuning()),
        facts(lr=2.0**-6, capabilities=REPEATED, overhead_cap=0.15),
        landscape=LearnedByHeart(TOTAL, turning=9.0),  # type: ignore[arg-type]
        spoil=spoil,
    ).run()


def test_a_piece_that_is_sent_again_after_trouble_tells_no_name_twice() -> None:
    job = spoiled(700)
    assert [code for code in codes(job) if code.startswith("guard_")] == ["guard_rewind"]
    names = [one.save_end_as for one in job.controller.segments if one.save_end_as is not None]
    assert len(names) == len(set(names))
    assert job.follower.position == TOTAL


def test_trouble_in_the_last_step_of_a_piece_does_not_end_the_watch_for_trouble() -> None:
    job = spoiled(pieces.ends(TOTAL)[6])
    assert "guard_gave_up" not in codes(job)
    assert all(one.stop_if for one in job.controller.segments if one.kind == "main")
    assert job.follower.position == TOTAL
