"""Schedules of every family, drawn at random; what a family cannot have is left out here, with the reason."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from hypothesis import strategies as st
from pacesetter.schedules import Schedule

Document: TypeAlias = dict[str, Any]

SHAPES = ("linear", "sqrt", "square", "cosine", "mirror_cosine", "exponential")
TRILLIONS = 10**13

LAWS = ("noam", "power")
RISING = ("joined", "one_cycle", "rewarm")
"""They rise by themselves, and take no warm-up."""

shapes = st.sampled_from(SHAPES)
units = st.floats(0.0, 1.0)
ends = st.floats(0.001, 0.999)


def _family(name: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    return st.fixed_dictionaries({"family": st.just(name), **parts})


@st.composite
def _steps(draw: st.DrawFn) -> Document:
    milestones = sorted(draw(st.sets(st.floats(0.5, 0.999), min_size=1, max_size=5)))
    return {
        "family": "step",
        "milestones": milestones,
        "factors": [draw(units) for _ in milestones],
    }


@st.composite
def _tables(draw: st.DrawFn) -> Document:
    inner = draw(st.sets(st.integers(1, 10**6 - 1), max_size=6))
    positions = [0.0, *(place / 10**6 for place in sorted(inner)), 1.0]
    return {
        "family": "table",
        "positions": positions,
        "values": [draw(st.floats(0.0, 100.0)) for _ in positions],
        "interpolation": draw(st.sampled_from(["linear", "hold"])),
    }


def _phase_ends(first: float) -> st.SearchStrategy[list[float]]:
    inner = st.sets(st.integers(int(first * 1000), 999), max_size=4)
    return inner.map(lambda marks: [*(mark / 1000 for mark in sorted(marks)), 1.0])


@st.composite
def _uba(draw: st.DrawFn) -> Document:
    phases = draw(_phase_ends(0.01))
    levels = [sorted((draw(units), draw(units))) for _ in phases]
    return {
        "family": "uba",
        "phi": draw(st.floats(0.01, 100.0)),
        "ends": phases,
        "tops": [high for _, high in levels],
        "bottoms": [low for low, _ in levels],
    }


@st.composite
def _infinite(draw: st.DrawFn) -> Document:
    end, constant = sorted((draw(ends), draw(ends)))
    return {
        "family": "infinite",
        "cooldown": draw(st.floats(0.0, 0.3)),
        "anneal": draw(st.floats(0.0, 0.2)),
        "constant": constant,
        "end": end,
        "shape": draw(st.sampled_from(["cosine", "inverse_sqrt"])),
    }


@st.composite
def _joined(draw: st.DrawFn, length: int) -> Document:
    seams = sorted(draw(st.sets(st.integers(1, length - 1), max_size=3)))
    simple = st.sampled_from(["constant", "linear", "rex", "exponential"])
    pieces = [
        {
            "start": start,
            "seam": "jump",
            "schedule": {
                "zero": start,
                "length": length,
                "peak": draw(st.floats(0.0, 2.0)),
                "body": {"family": draw(simple)},
            },
        }
        for start in (0, *seams)
    ]
    return {"family": "joined", "pieces": pieces}


def documents(length: int, warmup: int) -> Mapping[str, st.SearchStrategy[Document]]:
    """Return how to draw each family that fits a schedule of ``length`` with ``warmup``, at most half of it."""
    share = st.floats(1e-5, 0.4)
    drawn = {
        **{name: _family(name) for name in ("constant", "cosine", "linear")},
        "cosine_restarts": _family(
            "cosine_restarts", cycles=st.integers(1, 9), growth=st.floats(1.0, 3.0)
        ),
        "exponential": _family("exponential", end=ends),
        "infinite": _infinite(),
        "inverse_sqrt": _family("inverse_sqrt", timescale=st.integers(max(warmup, 1), TRILLIONS)),
        "joined": _joined(length),
        "minicpm_wsd": _family(
            "minicpm_wsd", decay=share, half_life=st.integers(1 + length // 30, TRILLIONS)
        ),
        "moderate_decay": _family("moderate_decay", cooldown=share, end=ends, shape=shapes),
        "noam": _family("noam", width=st.integers(1, 10**5)),
        "one_cycle": _family(
            "one_cycle",
            rise=ends,
            divisor=st.floats(1.0, 1e3),
            anneal=st.sampled_from(["cosine", "linear"]),
        ),
        "polynomial": _family("polynomial", power=st.floats(0.01, 100.0)),
        "power": _family(
            "power",
            batch_tokens=st.integers(1, 10**8),
            clock=st.sampled_from(["steps", "tokens"]),
            b=st.floats(-0.6, -0.4),
            decay=st.one_of(st.just(0.0), share),
        ),
        "refined": _family(
            "refined",
            values=st.lists(units, min_size=2, max_size=9),
            norm=st.sampled_from(["l1", "l2_squared"]),
            tau=units,
        ),
        "rewarm": _family("rewarm", rewarm=st.one_of(st.just(0.0), ends), start=units, end=units),
        "rex": _family("rex", d=st.floats(0.0, 0.99)),
        "step": _steps(),
        "table": _tables(),
        "triangular": _family(
            "triangular", cycles=st.integers(1, 20), low=st.floats(0.0, 0.99), halving=st.booleans()
        ),
        "uba": _uba(),
        "wsd": _family("wsd", cooldown=st.floats(1e-6, 0.5), shape=shapes),
        "wsd_s": _family(
            "wsd_s",
            ends=_phase_ends(0.9),
            decay=share,
            end=ends,
            rewarm=st.one_of(st.just(0.0), st.floats(0.01, 0.5)),
        ),
        "wsdc": _family(
            "wsdc", decay=st.floats(1e-5, 0.2), constant=share.map(lambda s: s / 2), shape=shapes
        ),
    }
    unfit = RISING if warmup else ("noam",)
    return {name: how for name, how in drawn.items() if name not in unfit}


@st.composite
def schedules(
    draw: st.DrawFn, longest: int = TRILLIONS, shortest: int = 2, name: str | None = None
) -> Schedule:
    """Draw a schedule of any family, or of the one named, up to trillions of clock units long."""
    length = draw(st.integers(max(shortest, 4) if name == "noam" else shortest, longest))
    most = 0 if name in RISING else length // 2 - 1
    rises = name == "noam" or (most > 0 and draw(st.booleans()))
    warmup = draw(st.integers(1, most)) if rises else 0
    families = documents(length, warmup)
    body = draw(families[name or draw(st.sampled_from(sorted(families)))])
    rise = {"length": warmup, "start": draw(units)}
    return Schedule.model_validate(
        {
            "zero": draw(st.integers(-longest, longest)),
            "length": length,
            "peak": draw(st.one_of(st.just(0.0), st.floats(1e-9, 1e6))),
            "floor": draw(units),
            "unit": "absolute" if body["family"] in LAWS else "relative",
            "warmup": rise if warmup else None,
            "body": body,
        }
    )
