"""What runs of a project say of the best peak of one to come."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Workload
from pacesetter_search.memory import FoundPeak, RunRecord
from pacesetter_search.memory.kinds import SCALE, Kind
from pacesetter_search.memory.prior import BELOW, PeakPrior, model_of, peak_prior
from pacesetter_search.transfer import Optimum, PeakPrediction, hinge_peak

from tests.search.memory.runs import BATCH, PARAMETERS, best, found, record

TARGET = Workload(family="bytes", parameters=PARAMETERS, batch_tokens=BATCH)
TOKENS = 2.0**19


def said(records: list[RunRecord], workload: Workload = TARGET, **given: Any) -> PeakPrior | None:
    known = {"regime": "pretrain", "optimizer": "adamw", "tokens": TOKENS}
    return peak_prior(records, workload, **{**known, **given})


def told(records: list[RunRecord], workload: Workload = TARGET, **given: Any) -> PeakPrior:
    prior = said(records, workload, **given)
    assert prior is not None
    return prior


def fleet(count: int, seed: int = 0) -> list[RunRecord]:
    """Return runs of several sizes and budgets, each of which found its best peak to .3 octaves."""
    generator = np.random.default_rng(seed)
    runs = []
    for number in range(count):
        parameters = PARAMETERS * 2.0 ** generator.uniform(-2.0, 2.0)
        tokens = TOKENS * 2.0 ** generator.uniform(-2.0, 2.0)
        one = found(number, tokens=tokens, parameters=parameters)
        peak = one.found[0]
        moved = peak.model_copy(update={"log2_lr": peak.log2_lr + 0.3 * generator.normal()})
        runs.append(one.model_copy(update={"found": (moved,)}))
    return runs


def test_no_run_says_nothing() -> None:
    assert said([]) is None
    assert said([record(1)]) is None


def test_a_workload_without_a_size_is_told_nothing() -> None:
    assert said(fleet(5), Workload(family="bytes", batch_tokens=BATCH)) is None


def test_many_runs_tell_where_the_best_peak_lies_at_the_budget() -> None:
    prior = told(fleet(20))
    assert prior.log2_lr == pytest.approx(best(PARAMETERS, TOKENS), abs=0.5)
    assert prior.sd < 0.7
    assert prior.runs == 20


def test_the_fall_over_the_budget_is_learned() -> None:
    assert told(fleet(40)).drift == pytest.approx(0.45, abs=0.1)
    assert told(fleet(40)).drift_sd < told(fleet(1)).drift_sd


def test_every_run_narrows_what_is_known() -> None:
    sds = [told(fleet(count)).sd for count in (1, 3, 10, 40)]
    assert sds == sorted(sds, reverse=True)
    assert sds[0] > 0.7


def test_another_family_says_less() -> None:
    own, others = told(fleet(10)), told([_called(one, "code") for one in fleet(10)])
    assert others.runs == 0
    assert others.sd > own.sd
    assert abs(others.log2_lr - best(PARAMETERS, TOKENS)) < 1.0


@pytest.mark.parametrize("given", [{"regime": "lora"}, {"optimizer": "sgd"}])
def test_another_kind_says_nothing(given: dict[str, Any]) -> None:
    assert said(fleet(5), **given) is None


def test_a_run_that_is_left_out_weighs_nothing() -> None:
    runs = fleet(6)
    kept = told(runs[1:])
    assert "curve_0" in {source.id for source in told(runs).sources}
    assert "curve_0" not in {source.id for source in kept.sources}


def test_weights_say_how_far_the_answer_follows_a_run() -> None:
    """Where no final loss corrects what all runs together say."""
    runs = [run.model_copy(update={"final_loss": None}) for run in fleet(4)]
    before = told(runs)
    peak = runs[2].found[0]
    moved = runs[2].model_copy(
        update={"found": (peak.model_copy(update={"log2_lr": peak.log2_lr + 0.01}),)}
    )
    after = told([*runs[:2], moved, runs[3]])
    weight = next(source.weight for source in before.sources if source.id == "curve_2")
    assert (after.log2_lr - before.log2_lr) / 0.01 == pytest.approx(weight, abs=0.01)


def test_a_sweep_at_the_target_is_followed() -> None:
    """Three complete runs of the workload itself leave little to guess."""
    losses = {-9.0: 2.08, -8.0: 2.02, -7.0: 2.0, -6.0: 2.02}
    runs = [
        record(number, peak_lr=2.0**log2_lr, final_loss=loss)
        for number, (log2_lr, loss) in enumerate(losses.items())
    ]
    prior = told(runs)
    assert prior.log2_lr == pytest.approx(-7.0, abs=0.3)
    assert prior.sd < 0.6


def test_at_scale_the_published_law_is_the_prior() -> None:
    """One run of 124M, an octave above the law: the answer follows it, and the slopes are the published ones."""
    target = Workload(family="gpt", parameters=124e6, batch_tokens=51_200.0)
    law = math.log2(hinge_peak(124e6, 2.5e9, 51_200.0))
    short = math.log2(hinge_peak(124e6, 2.5e9 / 16, 51_200.0)) + 1.0
    one = record(1, family="gpt", parameters=124e6, batch=51_200.0, tokens=2.5e9)
    peak = FoundPeak(share=1 / 16, log2_lr=short, sd=0.2)
    prior = told([one.model_copy(update={"found": (peak,)})], target, tokens=2.5e9)
    assert law + 0.3 < prior.log2_lr < law + 1.0
    assert prior.drift == pytest.approx(0.29, abs=0.1)


LANGUAGE = Kind("pretrain", "adam", "standard", "min loss")
LARGE = Optimum(124e6, 2.5e9, 51_200.0, 1.0)


def proxy(parameters: float, octaves: float = 0.0, sd: float = 0.2) -> Optimum:
    """Return a best peak at twenty tokens a parameter, so far above the published law."""
    tokens = 20.0 * parameters
    batch = min(16_384.0, parameters)
    lr = hinge_peak(parameters, tokens, batch) * 2.0**octaves
    return Optimum(parameters, tokens, batch, lr, sd)


def large(*optima: Optimum) -> PeakPrediction:
    return model_of(LANGUAGE, optima, LARGE).predict(LARGE)


@pytest.mark.parametrize("parameters", [1e4, 1e5, 2e6, 1.9e7, 2.1e7])
@pytest.mark.parametrize("octaves", [-1.0, 0.0, 1.0])
def test_a_small_proxy_takes_nothing_from_what_the_law_says_of_a_large_model(
    parameters: float, octaves: float
) -> None:
    alone, backed = large(), large(proxy(parameters, octaves))
    assert backed.sd < alone.sd
    # The slopes that are expected are not to the digit those of the law: a quarter of an octave over this distance.
    assert abs(backed.mean - alone.mean) < abs(octaves) + 0.3


def test_the_further_below_the_law_a_proxy_lies_the_less_it_says() -> None:
    sizes = [6e7, 2e7, 5e6, 1e6, 1e5, 1e4]
    sds = [large(proxy(size)).sd for size in sizes]
    assert sds == sorted(sds)
    moved = [large(proxy(size, 2.0)).mean - large().mean for size in sizes]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 1.0
    assert moved[-1] < 0.4


def test_many_small_proxies_are_off_together() -> None:
    """A hundred of them say no more than one that is known exactly."""
    size = SCALE / 16.0
    one, many = large(proxy(size, sd=0.01)), large(*[proxy(size) for _ in range(100)])
    assert many.sd == pytest.approx(one.sd, rel=0.05)
    assert pytest.approx(0.2672, abs=1e-4) == BELOW
    unshared = large(*[proxy(SCALE) for _ in range(100)])
    assert unshared.sd < 0.8 * many.sd


def test_a_small_target_is_told_by_practice_whatever_the_size_of_the_evidence() -> None:
    small = Optimum(1e6, 2e7, 16_384.0, 1.0)
    for optima in ([], [proxy(1e8)], [proxy(1e6)]):
        assert model_of(LANGUAGE, optima, small).slopes()["tokens"][1] > 0.1
    assert model_of(LANGUAGE, [proxy(1e6)], LARGE).slopes()["tokens"][1] < 0.07


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_runs_does_not_matter(order: list[int]) -> None:
    runs = fleet(6)
    one, other = told(runs), told([runs[place] for place in order])
    assert one.log2_lr == pytest.approx(other.log2_lr, abs=1e-9)
    assert one.sd == pytest.approx(other.sd, abs=1e-9)


def _called(one: RunRecord, family: str) -> RunRecord:
    workload = one.workload.model_copy(update={"family": family})
    return one.model_copy(update={"workload": workload, "id": f"{one.id}-{family}"})


def test_the_answer_is_a_rate_that_can_be_run() -> None:
    assert 0.0 < math.exp2(told(fleet(3)).log2_lr) < 1.0
