"""What a project knows that concerns a job, fixed in the job's first event."""

from typing import Any

import pytest
from pacesetter.protocol import ParameterGroup, Workload
from pacesetter.schedules import Schedule
from pacesetter_search.contract import JobFacts
from pacesetter_search.memory.jobs import job_priors, workload_of
from pacesetter_search.memory.laws import LAWS, FamilyLaw
from pacesetter_search.memory.prior import PEAK, PeakPrior, peak_prior
from pydantic import TypeAdapter

from tests.search.memory.runs import BATCH, PARAMETERS, found, record
from tests.search.memory.test_laws import law
from tests.search.support.simulator import job_facts

STEPS = 1024
RUNS = [found(number, tokens=2.0 ** (18 + number % 3)) for number in range(6)]


def job(lr: float = 1e-3, *, base: Schedule | None = None, **declared: Any) -> JobFacts:
    group = ParameterGroup(name="all", base_lr=lr, optimizer="AdamW", parameters=int(PARAMETERS))
    workload = Workload(**{"family": "bytes", "batch_tokens": BATCH, **declared})
    base = base or Schedule.default_base(STEPS)
    return job_facts(STEPS, base=base, groups=(group,), regime="pretrain", workload=workload)


def test_a_job_is_told_the_best_peak_at_its_own_size_and_budget() -> None:
    said = PeakPrior.model_validate(job_priors(RUNS, job())[PEAK])
    workload = RUNS[0].workload
    assert said == peak_prior(
        RUNS, workload, regime="pretrain", optimizer="AdamW", tokens=STEPS * BATCH
    )
    assert (said.runs, said.of_kind) == (6, 6)
    other = PeakPrior.model_validate(job_priors(RUNS, job(family="code"))[PEAK])
    assert (other.runs, other.of_kind) == (0, 6)
    assert other.sd > said.sd


def test_without_a_batch_a_job_is_told_nothing_unless_its_family_has_one() -> None:
    assert workload_of(RUNS, job(batch_tokens=None)).batch_tokens == BATCH
    assert job_priors(RUNS, job(batch_tokens=None)) == job_priors(RUNS, job())
    assert job_priors(RUNS, job(batch_tokens=None, family="code")) == {}


def test_a_project_that_knows_nothing_says_nothing() -> None:
    assert job_priors([], job()) == {}
    assert job_priors([record(1)], job()) == {}


@pytest.mark.parametrize(
    "base", [Schedule.default_base(STEPS), Schedule(length=STEPS, peak=1e-3, unit="absolute")]
)
def test_laws_are_told_by_the_peak_that_the_base_schedule_reaches(base: Schedule) -> None:
    laws = [law(1), law(2, peak_lr=4e-3), law(3, workload={"family": "code"})]
    lr = 1e-3 if base.unit == "relative" else 0.5
    said = job_priors([], job(lr, base=base), laws)
    told = TypeAdapter(list[FamilyLaw]).validate_python(said[LAWS])
    assert [each.id for each in told] == ["law_1"]
    assert PEAK not in said
