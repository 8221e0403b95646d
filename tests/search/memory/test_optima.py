"""Best peaks out of runs that have ended: what compares, and what does not."""

import math
from typing import Any

import pytest
from pacesetter.protocol import Objective, Workload
from pacesetter_search.memory import FoundPeak, RunRecord
from pacesetter_search.memory.kinds import Kind, class_of
from pacesetter_search.memory.optima import AHEAD_SD, SHAPES_SD

from tests.search.memory.runs import BATCH, PARAMETERS, found, optima_of, record


def bowl(log2_lr: float, best: float = -7.0, cost: float = 0.02) -> float:
    return 2.0 * (1.0 + cost * (log2_lr - best) ** 2)


def swept(*log2_lrs: float, **given: Any) -> list[RunRecord]:
    return [
        record(number, peak_lr=2.0**log2_lr, final_loss=bowl(log2_lr), **given)
        for number, log2_lr in enumerate(log2_lrs)
    ]


def test_what_short_runs_found_belongs_to_their_own_length() -> None:
    (only,) = optima_of([found(1)])
    assert only.optimum.tokens == 2.0**15
    assert math.log2(only.optimum.lr) == pytest.approx(-7.0 + 4 * 0.45)
    assert (only.optimum.parameters, only.optimum.batch) == (PARAMETERS, BATCH)
    # Four doublings ahead of the run, each of which may move it, independently.
    assert only.optimum.sd == pytest.approx(math.hypot(0.3, 2.0 * AHEAD_SD))
    assert only.sources == ("curve_1",)


def test_momentum_makes_a_rate_as_much_larger() -> None:
    (plain,), (heavy,) = (optima_of([found(1, momentum=momentum)]) for momentum in (0.0, 0.75))
    assert math.log2(heavy.optimum.lr / plain.optimum.lr) == pytest.approx(2.0)


def test_runs_that_differ_in_their_peak_alone_are_a_sweep() -> None:
    (only,) = optima_of(swept(-9.0, -8.0, -7.0, -6.0))
    assert math.log2(only.optimum.lr) == pytest.approx(-7.0, abs=0.1)
    assert only.optimum.sd < 0.6
    assert only.optimum.tokens == 2.0**19
    assert only.sources == ("curve_0", "curve_1", "curve_2", "curve_3")


def test_a_sweep_is_told_at_the_shape_of_a_linear_decay() -> None:
    """Runs of a shape whose best peak lies an octave lower are best an octave below a linear decay's."""
    linear, other = (optima_of(swept(-8.0, -7.0, -6.0, shape_octaves=s))[0] for s in (0.0, -1.0))
    assert math.log2(other.optimum.lr / linear.optimum.lr) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "apart",
    [
        {"family": "images"},
        {"parameters": 2.0 * PARAMETERS},
        {"batch": 2.0 * BATCH},
        {"tokens": 2.0**20},
        {"shape_octaves": -0.5},
        {"weight_decay": 0.1},
        {"optimizer": "adam"},
        {"validated": True},
        {"completed": False},
        {"final_loss": None},
    ],
)
def test_runs_that_differ_in_more_do_not_compare(apart: dict[str, Any]) -> None:
    one, other = record(1, peak_lr=2.0**-7), record(2, peak_lr=2.0**-8, **apart)
    assert optima_of([one, other]) == []
    assert len(optima_of([one, record(3, peak_lr=2.0**-8)])) == 1


def test_runs_of_which_size_or_batch_is_unknown_say_nothing() -> None:
    nameless = [one.model_copy(update={"workload": Workload()}) for one in swept(-8.0, -7.0)]
    assert optima_of(nameless) == []
    assert optima_of([found(1).model_copy(update={"tokens": None})]) == []


def test_a_short_run_within_one_batch_counts_as_one_batch() -> None:
    peak = FoundPeak(share=1e-6, log2_lr=-5.0, sd=0.3)
    (only,) = optima_of([record(1, found=(peak,))])
    assert only.optimum.tokens == BATCH


@pytest.mark.parametrize(
    ("apart", "same"),
    [
        ({"optimizer": "adam"}, True),
        ({"optimizer": "sgd"}, False),
        ({"regime": "lora"}, False),
        ({"objective": Objective(name="reward", mode="max")}, False),
        ({"family": "images"}, True),
    ],
)
def test_evidence_stays_within_its_kind(apart: dict[str, Any], same: bool) -> None:
    kind = Kind.of(Workload(), "pretrain", "AdamW")
    assert bool(kind.of_this([record(1, **apart)])) is same


def test_optimizers_of_one_class() -> None:
    assert class_of("AdamW") == class_of("RAdam") == class_of("adam") == "adam"
    assert class_of("SGD") == "sgd"
    assert class_of("Muon") == "muon"


LARGE: dict[str, Any] = {"parameters": 124e6, "batch": 51_200.0, "tokens": 2.5e9}
BEST = -10.0


def of_shape(number: int, octaves: float, shape: float, **given: Any) -> RunRecord:
    """Return a large run, so many octaves from the best peak of its own shape."""
    lr = 2.0 ** (BEST + octaves + shape)
    loss = 3.0 * (1.0 + 0.0063 * octaves**2)
    return record(number, peak_lr=lr, final_loss=loss, shape_octaves=shape, **{**LARGE, **given})


def test_large_runs_of_several_shapes_tell_a_best_peak_less_surely_than_of_one() -> None:
    shapes = (0.0, -0.4, -0.9)
    several = [
        of_shape(n, at, shape) for n, (at, shape) in enumerate(zip((-2, 0, 2), shapes, strict=True))
    ]
    (mixed,) = optima_of(several)
    (alike,) = optima_of([of_shape(n, at, 0.0) for n, at in enumerate((-2, 0, 2))])
    assert math.log2(mixed.optimum.lr) == pytest.approx(BEST, abs=0.2)
    assert mixed.optimum.sd > 1.2 * alike.optimum.sd
    assert mixed.optimum.shape == pytest.approx(sum(shapes) / 3)
    assert mixed.sources == ("curve_0", "curve_1", "curve_2")


def test_what_a_shape_may_do_by_itself_is_no_sign_of_a_best_peak() -> None:
    """Runs an octave apart whose losses differ by what shapes differ by: hardly anything is known."""
    lower = of_shape(0, 0.0, 0.0)
    upper = of_shape(1, 1.0, -0.4).model_copy(update={"final_loss": 3.0 * (1.0 - SHAPES_SD)})
    (told,) = optima_of([lower, upper])
    assert told.optimum.sd > 0.8


def test_runs_of_several_shapes_are_asked_only_where_no_shape_by_itself_tells() -> None:
    sweep = [of_shape(n, at, 0.0) for n, at in enumerate((-2, 0, 2))]
    (only,) = optima_of([*sweep, of_shape(3, 1.0, -0.9)])
    assert only.sources == ("curve_0", "curve_1", "curve_2")


@pytest.mark.parametrize(
    "given",
    [
        {"shape_octaves": -1.6},  # it never came down
        {"tokens": 5e9},
        {"batch": 1e5},
        {"weight_decay": 0.1},
        {"family": "other"},
        {"completed": False},
    ],
)
def test_runs_that_differ_in_more_than_peak_and_shape_are_not_put_together(
    given: dict[str, Any],
) -> None:
    first = of_shape(0, -1.0, 0.0)
    assert len(optima_of([first, of_shape(1, 1.0, -0.9)])) == 1
    other = record(
        1, **{**LARGE, "peak_lr": 2e-3, "final_loss": 3.0, "shape_octaves": -0.9, **given}
    )
    assert optima_of([first, other]) == []


@pytest.mark.parametrize("given", [{"parameters": 1e6}, {"regime": "finetune"}])
def test_where_nothing_is_known_of_shapes_they_are_not_put_together(given: dict[str, Any]) -> None:
    assert optima_of([of_shape(0, -1.0, 0.0, **given), of_shape(1, 1.0, -0.9, **given)]) == []


def test_one_peak_of_several_shapes_tells_no_best_one() -> None:
    lr = 2.0**BEST
    runs = [
        record(n, peak_lr=lr, final_loss=3.0 + n / 100, shape_octaves=-0.3 * n, **LARGE)
        for n in range(4)
    ]
    assert optima_of(runs) == []
