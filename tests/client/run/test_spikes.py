"""What stops a main line, and above all what does not."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import (
    StopIfGradientSpikes,
    StopIfLossSpikes,
    StopIfNonFinite,
    StopIfProgressLost,
)
from pacesetter.run.guarding import LossGuard
from pacesetter.run.stopping import Clauses

ALL = (StopIfNonFinite(), StopIfLossSpikes(), StopIfProgressLost(), StopIfGradientSpikes())
STEPS = 3000
Curve = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Stops = list[tuple[int, str]]


def stops(losses: np.ndarray) -> Stops:
    """Return where a main line with these losses is stopped, and by which clause."""
    clauses = Clauses(ALL)
    found = []
    for place, loss in enumerate(losses.tolist()):
        code = clauses.judge(loss)
        if code is not None:
            found.append((place, code))
            clauses.interrupt()
    return found


def language(t: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Return losses like those of a language model: 10.8 nats down to 2.2, noise of 0.1."""
    return np.asarray(2.0 + 8.8 / (1.0 + t / 30.0) + draws.normal(0.0, 0.1, t.size))


HARMLESS: dict[str, Curve] = {
    "a language model": language,
    "a warm-up that raises the loss by a fifth": lambda t, draws: (
        2.3 + 0.45 * np.exp(-(((t - 300) / 150) ** 2)) + draws.normal(0, 0.05, t.size)
    ),
    "single outliers of fifty times the loss": lambda t, draws: (
        language(t, draws) * np.where(draws.random(t.size) < 0.02, 50.0, 1.0)
    ),
    "batches of one with an exponential loss": lambda t, draws: (
        draws.exponential(1.0, t.size) * (0.2 + 2.0 / (1.0 + t / 100))
    ),
    "batches of one with heavy tails": lambda t, draws: (
        draws.pareto(1.5, t.size) * (0.05 + 1.0 / (1.0 + t / 100))
    ),
    "log-normal noise": lambda t, draws: draws.lognormal(0.0, 1.5, t.size) / (1.0 + t / 100),
    "a drop of the learning rate by ten": lambda t, draws: (
        np.where(t < 1500, 1.0, 0.3) + draws.normal(0, 0.1, t.size).clip(-0.25)
    ),
    "epochs that are known better each time": lambda t, draws: (
        np.exp(-(t // 300) * 0.4) * (1.0 + 0.1 * (t % 300) / 300) + draws.normal(0, 0.02, t.size)
    ).clip(1e-6),
    "a memorised set with an occasional hard batch": lambda t, draws: (
        1e-3 + 2.3 * np.exp(-t / 100) + np.where(draws.random(t.size) < 0.05, 0.5, 0.0)
    ),
    "a policy gradient around zero": lambda t, draws: np.sin(t / 200) + draws.normal(0, 1, t.size),
    "a rising loss that may be negative": lambda t, draws: (
        -1.0 + t / 300 + draws.normal(0, 0.1, t.size)
    ),
    "a loss that never changes": lambda t, draws: np.full(t.size, 0.7) + 0.0 * draws.random(t.size),
}


@pytest.mark.parametrize("curve", HARMLESS.values(), ids=HARMLESS.keys())
def test_there_is_no_false_alarm_in_twenty_trainings(curve: Curve) -> None:
    t = np.arange(STEPS, dtype=np.float64)
    alarms = [stops(curve(t, np.random.default_rng(seed))) for seed in range(20)]
    assert [each for each in alarms if each] == []


TROUBLE: dict[str, tuple[Curve, str, int]] = {
    "a jump that stays": (
        lambda t, draws: language(t, draws) + np.where(t >= 1000, 3.0, 0.0),
        "LOSS_SPIKE",
        1008,
    ),
    "a jump of a loss near zero": (
        lambda t, draws: (
            0.05 + 2.3 * np.exp(-t / 100) + np.where(t >= 1000, 1.0, 0.01 * draws.random(t.size))
        ),
        "LOSS_SPIKE",
        1008,
    ),
    "a slow way back up": (
        lambda t, draws: language(t, draws) + np.maximum(t - 1000, 0.0) / 100,
        "PROGRESS_LOST",
        1450,
    ),
    "an explosion in the first steps": (
        lambda t, draws: (
            draws.uniform(2.2, 2.4, t.size) * 1.4 ** np.maximum(t - 12, 0.0).clip(max=200)
        ),
        "PROGRESS_LOST",
        30,
    ),
    "one loss that is no number": (
        lambda t, draws: np.where(t == 700, np.nan, language(t, draws)),
        "NON_FINITE",
        701,
    ),
}


@pytest.mark.parametrize(("curve", "code", "before"), TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_is_seen_in_time(curve: Curve, code: str, before: int) -> None:
    t = np.arange(STEPS, dtype=np.float64)
    for seed in range(5):
        place, found = stops(curve(t, np.random.default_rng(seed)))[0]
        assert found == code
        assert place <= before


def test_a_short_burst_is_left_to_pass() -> None:
    losses = language(np.arange(STEPS, dtype=np.float64), np.random.default_rng(0))
    losses[1000:1004] += 20.0
    assert stops(losses) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(), max_size=300))
def test_any_values_are_judged(values: list[float]) -> None:
    clauses = Clauses(ALL)
    for value in values:
        code = clauses.judge(value)
        clauses.judge_norm(value)
        assert (code == "NON_FINITE") == (not math.isfinite(value))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 100), jump=st.floats(0.0, 5.0))
def test_the_unit_of_the_loss_makes_no_difference(scale: float, seed: int, jump: float) -> None:
    t = np.arange(600, dtype=np.float64)
    losses = language(t, np.random.default_rng(seed)) + np.where(t > 400, jump, 0.0)
    unit = 2.0 ** round(math.log2(scale))  # a power of two rounds nothing
    assert stops(losses * unit) == stops(losses)


def test_gradient_norms_of_another_order_stop_and_noisy_ones_do_not() -> None:
    draws = np.random.default_rng(0)
    norms = draws.lognormal(0.0, 0.5, STEPS)
    norms[::50] *= 100.0
    calm = Clauses(ALL)
    assert [code for norm in norms.tolist() if (code := calm.judge_norm(norm))] == []
    norms[2000:] *= 200.0
    spiking = Clauses(ALL)
    found = [place for place, norm in enumerate(norms.tolist()) if spiking.judge_norm(norm)]
    assert 2006 <= found[0] <= 2012
    assert spiking.evidence["usual"] == pytest.approx(1.0, rel=0.5)


def test_the_level_lives_on_in_the_next_segment_of_the_main_line() -> None:
    guard = LossGuard(0, alone=True)
    guard.begin(ALL, main=True)
    for _ in range(100):
        assert guard.take(1.0) is None
    guard.begin((StopIfNonFinite(),))  # a probe in between
    guard.begin(ALL, main=True)
    codes = [guard.take(4.0) for _ in range(8)]
    assert codes[-1] == "LOSS_SPIKE"
    assert guard.evidence["level"] < 1.5


def test_a_loss_that_is_no_number_stops_at_once_and_others_within_eight_steps() -> None:
    guard = LossGuard(0, alone=True)
    guard.begin(ALL, main=True)
    assert guard.take(math.nan) == "NON_FINITE"
    assert not guard.active
