"""The published families at five points, by hand or from the paper."""

import math

import numpy as np
import pytest
from pacesetter.schedules import (
    FAMILIES,
    REX,
    UBA,
    WSDC,
    WSDS,
    AnyFamily,
    Cosine,
    CosineRestarts,
    Exponential,
    Extent,
    Infinite,
    Joined,
    Linear,
    MiniCPMWSD,
    ModerateDecay,
    OneCycle,
    Refined,
    Rewarm,
    Schedule,
    Table,
    Triangular,
    Warmup,
)
from pydantic import ValidationError

HUNDRED = Extent(length=100, warmup=0)

BY_HAND: list[tuple[AnyFamily, tuple[float, ...], tuple[float, ...]]] = [
    # 0.1^x
    (
        Exponential(),
        (0, 0.25, 0.5, 0.75, 1),
        (1, 0.5623413251903491, 0.31622776601683794, 0.1778279410038923, 0.1),
    ),
    # 2 (1 - x) / (2 - x): 1.5 / 1.75, 1 / 1.5, .5 / 1.25
    (REX(), (0, 0.25, 0.5, 0.75, 1), (1, 6 / 7, 2 / 3, 0.4, 0)),
    # The other schedule of that name, d = 0.9: .75 / .775, .5 / .55, .25 / .325
    (REX(d=0.9), (0, 0.25, 0.5, 0.75, 1), (1, 30 / 31, 10 / 11, 10 / 13, 0)),
    # 2u / (4 - 2u) with u = (1 + cos pi x) / 2; at 1/3 and 2/3 u is 3/4 and 1/4.
    (UBA(phi=4.0), (0, 1 / 3, 0.5, 2 / 3, 1), (1, 0.6, 1 / 3, 1 / 7, 0)),
    # phi = 1/2, 2u / (1/2 + 1.5 u), in two phases with levels of their own.
    (
        UBA(phi=0.5, ends=(0.5, 1.0), tops=(1.0, 0.5), bottoms=(0.2, 0.1)),
        (0, 0.25, 0.5, 0.75, 1),
        (1, 0.2 + 0.8 * 0.8, 0.5, 0.1 + 0.4 * 0.8, 0.1),
    ),
    # From 1/25 to 1 at 30 %, to 1 / 250,000; half way in each part at 15 % and 65 %.
    (OneCycle(), (0, 0.15, 0.3, 0.65, 1), (0.04, 0.52, 1, 0.500002, 4e-6)),
    (Triangular(cycles=2), (0, 0.125, 0.25, 0.5, 0.75), (0.25, 0.625, 1, 0.25, 1)),
    (Triangular(cycles=2, halving=True), (0, 0.25, 0.5, 0.75, 1), (0.25, 1, 0.25, 0.625, 0.25)),
    # Cycles of 1/3 and 2/3.
    (CosineRestarts(cycles=2), (0, 1 / 6, 1 / 3, 2 / 3, 1), (1, 0.5, 1, 0.5, 0)),
    # Half-lives of 25 from 50 on.
    (
        MiniCPMWSD(decay=0.5, half_life=25),
        (0, 0.5, 0.625, 0.75, 1),
        (1, 1, 0.7071067811865476, 0.5, 0.25),
    ),
    # Half way in 1 / LR from 1 to 1/4 lies 1 / 2.5.
    (WSDS(ends=(0.5, 1.0), decay=0.5, end=0.25), (0, 0.375, 0.5, 0.875, 1), (1, 0.4, 1, 0.4, 0.25)),
    (
        WSDS(ends=(0.5, 1.0), decay=0.5, end=0.25, rewarm=0.2),
        (0.375, 0.5, 0.55, 0.6, 1),
        (0.4, 0.25, 0.625, 1, 0.25),
    ),
    (WSDC(decay=0.25, constant=0.25), (0, 0.5, 0.625, 0.75, 1), (1, 1, 0.55, 0.1, 0.1)),
    (ModerateDecay(cooldown=0.5), (0, 0.5, 0.75, 0.9, 1), (1, 1, 2 / 3, 7 / 15, 1 / 3)),
    # 3e-4, half way, 1.65e-4, sqrt(1.65e-4 * 3e-5), 3e-5, over the peak of 3e-4.
    (Infinite(), (0, 0.3, 0.6, 0.925, 1), (1, 0.775, 0.55, math.sqrt(0.055), 0.1)),
    # g(1/2) / g(1) = (1 / sqrt(6) - 1) / (1 / sqrt(11) - 1) = 0.8471887
    (Infinite(shape="inverse_sqrt"), (0, 0.3, 0.6, 0.85, 1), (1, 0.6187651, 0.55, 0.55, 0.1)),
    # A later task: from the constant, end left open.
    (Infinite(cooldown=0.0, anneal=0.0), (0, 0.25, 0.5, 0.75, 1), (0.55, 0.55, 0.55, 0.55, 0.55)),
    (Rewarm(rewarm=0.2), (0, 0.1, 0.2, 0.6, 1), (0.1, 0.55, 1, 0.55, 0.1)),
    (
        Refined(values=(0.0, 1.0, 0.5), norm="l1", tau=0.1),
        (0, 0.25, 0.5, 0.75, 1),
        (0, 0.5, 1, 0.75, 0.5),
    ),
    # REX up to the middle, where it is 2/3, then a line to 0.
    (
        Joined.model_validate(
            {
                "pieces": [
                    {"start": 0, "schedule": {"length": 100, "body": {"family": "rex"}}},
                    {
                        "start": 50,
                        "schedule": {
                            "zero": 50,
                            "length": 50,
                            "peak": 2 / 3,
                            "body": {"family": "linear"},
                        },
                    },
                ]
            }
        ),
        (0, 0.25, 0.5, 0.75, 1),
        (1, 6 / 7, 2 / 3, 1 / 3, 0),
    ),
]
ELSEWHERE = {"constant", "cosine", "linear", "polynomial", "step", "table", "wsd"} | {
    "inverse_sqrt",
    "noam",
    "power",
}
"""In ``test_families.py`` and ``test_laws.py``."""


def test_every_family_has_its_five_points() -> None:
    assert {family.family for family, _, _ in BY_HAND} | ELSEWHERE == set(FAMILIES)


@pytest.mark.parametrize(("family", "where", "values"), BY_HAND)
def test_family_at_five_points(
    family: AnyFamily, where: tuple[float, ...], values: tuple[float, ...]
) -> None:
    assert [family.at(x, HUNDRED) for x in where] == pytest.approx(values, abs=1e-7)
    assert family.over(np.array(where, dtype=np.float64), HUNDRED) == pytest.approx(
        values, abs=1e-7
    )


def test_uba_is_the_cosine_at_phi_two_and_rex_of_the_cosine_at_phi_one() -> None:
    x = np.linspace(0.0, 1.0, 101)
    cosine = Cosine().over(x, HUNDRED)

    assert UBA(phi=2.0).over(x, HUNDRED) == pytest.approx(cosine, abs=1e-15)
    rex_of_cosine = REX().over(1.0 - cosine, HUNDRED)
    assert UBA(phi=1.0).over(x, HUNDRED) == pytest.approx(rex_of_cosine, abs=1e-15)


@pytest.mark.parametrize("phi", [0.5, 1.0, 3.0])
def test_uba_is_none_of_the_formulas_invented_under_its_name(phi: float) -> None:
    half = UBA(phi=phi).at(0.5, HUNDRED)

    # 1 / (phi + 1 - phi / 2), which neither of the others is.
    assert half == pytest.approx(1.0 / (1.0 + phi / 2.0), abs=1e-15)
    assert abs(half - 0.5**phi) > 0.02
    assert abs(half - (1.0 - phi * 0.5) ** 2) > 0.02


def test_rex_is_that_of_the_paper_by_default_and_linear_without_curvature() -> None:
    assert REX().d == 0.5
    assert REX().at(0.5, HUNDRED) == pytest.approx(2 / 3, abs=1e-15)
    assert REX(d=0.0).at(0.3, HUNDRED) == Linear().at(0.3, HUNDRED)


def test_minicpm_is_at_a_tenth_after_16610_steps() -> None:
    schedule = Schedule(length=100_000, body=MiniCPMWSD(decay=0.2, half_life=5000))

    # The printed 0.5^((s - S) / T) is above 1 here.
    assert schedule.at(85_000) == pytest.approx(0.5, rel=1e-12)
    assert schedule.at(80_000 + 16_610) == pytest.approx(0.1, rel=1e-4)


def test_infinite_in_the_learning_rates_of_the_paper() -> None:
    schedule = Schedule(
        length=10_000, peak=3e-4, unit="absolute", warmup=Warmup(length=100), body=Infinite()
    )

    assert schedule.at(100) == 3e-4
    assert schedule.at(6100) == schedule.at(8000) == pytest.approx(1.65e-4, rel=1e-12)
    assert schedule.at(10_000) == pytest.approx(3e-5, rel=1e-12)


def test_wsd_s_takes_its_budgets_from_the_whole_run_with_its_warmup() -> None:
    body = WSDS(ends=(0.5, 1.0), decay=0.1)
    schedule = Schedule(length=1000, warmup=Warmup(length=100, start=0.0), body=body)

    # Each decay is a tenth of 500; the step at the budget itself runs at the full rate again.
    assert [schedule.at(s) for s in (50, 450, 475, 500)] == pytest.approx([0.5, 1, 1 / 5.5, 1])
    assert schedule.at(499.999) == pytest.approx(0.1, rel=1e-3)
    assert [schedule.at(s) for s in (950, 975, 1000)] == pytest.approx([1, 1 / 5.5, 0.1])
    assert schedule.breakpoints() == pytest.approx((0, 100, 450, 500, 950, 1000))


def test_wsd_s_falls_in_a_line_of_one_over_the_rate_and_not_of_the_rate() -> None:
    schedule = Schedule(length=1000, body=WSDS(ends=(1.0,), decay=0.1, end=0.1))
    inverse = 1.0 / schedule.over(np.arange(900.0, 1001.0))

    # From 1 to 10 over 100 steps.
    assert np.diff(inverse) == pytest.approx(np.full(100, 0.09), abs=1e-12)
    assert schedule.at(950) == pytest.approx(1 / 5.5, rel=1e-12)


def test_the_printed_formula_of_minicpm_would_be_above_one() -> None:
    half_life, ends, begins = 5000, 100_000, 80_000
    printed = 0.5 ** ((begins + 1000 - ends) / half_life)
    schedule = Schedule(length=ends, body=MiniCPMWSD(decay=0.2, half_life=half_life))

    assert printed > 13.0
    # 2^-0.2
    assert schedule.at(begins + 1000) == pytest.approx(0.8705505632961241, rel=1e-12)


def test_a_warmup_rises_to_where_the_shape_begins() -> None:
    body = Refined(values=(0.4, 1.0, 0.0), norm="l1", tau=0.1)
    schedule = Schedule(length=110, floor=0.5, warmup=Warmup(length=10, start=0.0), body=body)

    assert [schedule.at(s) for s in (0, 5, 10)] == pytest.approx([0.0, 0.35, 0.7])
    assert schedule.evaluator()(5) == schedule.at(5) == schedule.over(np.array([5.0]))[0]


def test_a_warmup_rises_to_where_a_table_begins() -> None:
    body = Table(positions=(0.0, 1.0), values=(0.4, 0.2))
    schedule = Schedule(length=110, peak=2.0, warmup=Warmup(length=10, start=0.5), body=body)

    assert [schedule.at(s) for s in (0, 5, 10, 110)] == pytest.approx([0.4, 0.6, 0.8, 0.4])
    assert schedule.highest == 0.8


def test_tiers_are_those_of_the_evidence() -> None:
    tiers = {name: family.tier for name, family in FAMILIES.items()}
    assert {n for n, t in tiers.items() if t == "recommended"} == {"linear", "wsd"}
    assert {n for n, t in tiers.items() if t == "experimental"} == {
        "cosine_restarts",
        "moderate_decay",
        "refined",
        "triangular",
        "uba",
        "wsdc",
    }


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"family": "rex", "d": 1.0}, "less than or equal to 0.999"),
        ({"family": "uba"}, "phi: Field required|Field required"),
        ({"family": "uba", "phi": 1, "ends": [0.5, 0.4, 1]}, "sort them"),
        ({"family": "uba", "phi": 1, "ends": [0.5]}, "end at 1"),
        ({"family": "uba", "phi": 1, "ends": [0.5, 1], "tops": [1, 1, 1]}, "one a phase"),
        ({"family": "uba", "phi": 1, "tops": [0.1], "bottoms": [0.2]}, "swap them"),
        ({"family": "one_cycle"}, "leave out warmup, and set rise"),
        ({"family": "rewarm"}, "leave out warmup, and set rewarm"),
        ({"family": "minicpm_wsd"}, "Field required"),
        ({"family": "minicpm_wsd", "half_life": 9, "decay": 0.95}, "give at most 0.9"),
        ({"family": "wsd_s", "ends": [0.05, 1]}, "inside the warm-up of 100"),
        ({"family": "wsd_s", "decay": 0.9, "rewarm": 0.2}, "at most 1 together"),
        ({"family": "wsdc", "decay": 0.6, "constant": 0.6}, "at most 1 together"),
        ({"family": "wsdc", "decay": 0.6, "constant": 0.35}, "at most 0.9 together"),
        ({"family": "moderate_decay", "cooldown": 0.95}, "give at most 0.9"),
        ({"family": "infinite", "end": 0.9}, "would rise"),
        ({"family": "infinite", "cooldown": 0.9}, "give at most 0.9 together"),
        ({"family": "refined", "values": [1], "norm": "l1", "tau": 0.1}, "at least 2"),
    ],
)
def test_bad_parameters_are_refused_with_what_would_do(
    document: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Schedule.model_validate({"length": 1000, "warmup": {"length": 100}, "body": document})
