"""``snr``: the base schedule under the rule, piece by piece, and a batch that is judged between them."""

from typing import Any

import pytest
from pacesetter.feedback import SignalToNoise
from pacesetter.noise import NoiseScale
from pacesetter.protocol import Acknowledgement, Capabilities
from pacesetter.schedules import Linear, Schedule
from pacesetter_search.contract import JobFacts, Overridden, Registered
from pacesetter_search.strategies.snr import SNR
from pydantic import ValidationError

from tests.search.support.simulator import Controller, SimulatedJob, job_facts

TOTAL = 400
BASE = Schedule(length=TOTAL, body=Linear())
# A gradient of squared norm 1 under noise that has 3 in a micro-batch: the scale is 3 micro-batches.
COLUMNS: dict[str, Any] = {
    "micro_square": lambda job: 4.0 + 0.2 * (-1) ** job.steps,
    "batch_square": lambda job: 1.75 + 0.1 * (-1) ** (job.steps // 2),
    "micro_batches": lambda _: 4.0,
}


def facts(**changes: Any) -> JobFacts:
    capable = {
        "feedback": ("snr",),
        "statistics": ("gradient_noise",),
        **changes.pop("capable", {}),
    }
    described = {"base": BASE, "capabilities": Capabilities.model_validate(capable), **changes}
    return job_facts(TOTAL, **described)


def run(parameters: dict[str, Any] | None = None, **simulated: Any) -> SimulatedJob:
    described = simulated.pop("facts", facts())
    columns = simulated.pop("columns", COLUMNS)
    strategy = SNR.from_document(parameters or {})
    return SimulatedJob(strategy, described, columns=columns, **simulated).run()


def entries(job: SimulatedJob, code: str) -> list[Any]:
    return [entry for entry in job.controller.log if entry.code == code]


def test_the_base_schedule_runs_under_the_rule_in_equal_pieces() -> None:
    job = run()
    sent = job.controller.segments
    assert [(one.start, one.end) for one in sent] == [(0, 100), (100, 200), (200, 300), (300, 400)]
    for one in sent:
        assert (one.kind, one.policy) == ("main", BASE)
        assert isinstance(one.feedback, SignalToNoise)
        assert (one.feedback.lowest, one.feedback.highest, one.feedback.horizon) == (0.1, 1.0, 100)
        assert one.feedback == sent[0].feedback  # else the client would begin it anew


def test_the_batch_is_judged_after_each_piece_in_samples() -> None:
    job = run({"micro_batch": 8.0})
    advice = entries(job, "batch_advice")
    assert len(advice) >= 4
    numbers = advice[0].numbers
    assert numbers["noise_scale"] == pytest.approx(24.0, rel=0.05)
    assert numbers["batch"] == 32.0
    assert numbers["signal_share"] == pytest.approx(4.0 / 7.0, rel=0.05)
    assert "a batch of 32 fits the noise scale of 24" in advice[0].text
    assert advice[0].text.endswith("(in samples)")


def test_the_figures_are_those_of_the_rows_however_they_were_cut() -> None:
    cut = run(cut=lambda records: 1 + records % 7)
    assert cut.controller.state["noise"] == run().controller.state["noise"]
    noise = NoiseScale()
    noise.load_state_dict(dict(cut.controller.state["noise"]))  # type: ignore[arg-type]  # a JSON object
    assert noise.steps == TOTAL


def test_without_micro_batches_it_says_so_and_advises_nothing() -> None:
    job = run(columns={})
    assert entries(job, "batch_advice") == []
    assert "0 steps had two micro-batches" in entries(job, "no_noise_scale")[0].text
    assert len(job.main_losses) == TOTAL


def test_a_refused_rule_leaves_the_base_schedule() -> None:
    job = run(refuse=lambda segment: "UNKNOWN_FEEDBACK" if segment.feedback else None)
    last = job.controller.segments[-1]
    assert (last.feedback, last.policy, last.end) == (None, BASE, TOTAL)
    assert len(job.controller.segments) == 2


def test_limits_without_room_leave_the_base_schedule() -> None:
    flat = Schedule(length=TOTAL)
    strict = run(facts=facts(base=flat, limits={"min_multiplier": 1.0, "max_multiplier": 1.0}))
    assert entries(strict, "no_room")
    assert [one.feedback for one in strict.controller.segments] == [None]
    narrow = run(facts=facts(base=flat, limits={"max_change_per_step": 1.02}))
    assert narrow.controller.segments[0].feedback is not None
    assert narrow.controller.segments[0].feedback.max_change_per_step == 1.01


def test_after_a_person_it_goes_on_where_the_job_stands() -> None:
    service = Controller(SNR.from_document({}), facts())
    service.tell(Registered())
    assert service.tell(Overridden(active=True, seq=2, position=30)) == []
    (segment,) = service.tell(Overridden(active=False, seq=2, position=130))
    assert (segment.start, segment.end) == (130, 200)
    stale = Acknowledgement(number=3, segment=segment.seq, position=140, status="stale")
    (again,) = service.tell(stale)
    assert (again.start, again.end) == (140, 200)


@pytest.mark.parametrize(
    ("capable", "why"),
    [({"feedback": ()}, "rule 'snr'"), ({"statistics": ()}, "statistics=('gradient_noise',)")],
)
def test_what_it_cannot_steer_it_says(capable: dict[str, Any], why: str) -> None:
    (found,) = SNR.from_document({}).obstacles(facts(capable=capable))
    assert why in found


@pytest.mark.parametrize("parameters", [{"lowest": 2.0}, {"pieces": 0}, {"micro_batch": 0.0}])
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SNR.from_document(parameters)
