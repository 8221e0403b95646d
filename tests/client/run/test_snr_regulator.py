"""The rule ``snr``: its share of signal on gradients whose noise is known, its bounds, and whole runs under it."""

import math
from itertools import pairwise
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.feedback import SignalToNoise
from pacesetter.protocol import Acknowledgement, Measurements, Segment
from pacesetter.run.feedback.base import Surroundings
from pacesetter.run.feedback.snr import SignalToNoiseRegulator
from pacesetter.run.optimizing import OptimizerSteps
from pacesetter.run.ranks import Ranks
from torch import Tensor, nn

from tests.support.service import ScriptedTransport, segment
from tests.support.training import attach

SIZE, PARTS = 400, 4
OPEN = {"lowest": 1e-3, "highest": 10.0, "max_change_per_step": 10.0}


class Noisy:
    """A weight vector whose gradient is ``signal`` along the first axis plus white noise in every micro-batch."""

    def __init__(self, noise: float = 0.1, **rule: Any) -> None:
        self.weights = torch.zeros(SIZE, dtype=torch.float64, requires_grad=True)
        self.generator = torch.Generator().manual_seed(0)
        self.noise = noise
        self.steps = OptimizerSteps({"sgd": torch.optim.SGD([self.weights], lr=1e-3)}, None)
        self.steps.watch_passes()
        self.regulator = self.another(**rule)

    def another(self, **rule: Any) -> SignalToNoiseRegulator:
        spec = SignalToNoise.model_validate({**OPEN, **rule})
        return SignalToNoiseRegulator(
            spec, Surroundings(lambda: [self.weights], lambda: 1e-3, Ranks(), self._squares)
        )

    def train(self, steps: int, signal: float, parts: int = PARTS) -> list[float]:
        return [self._step(signal, parts) for _ in range(steps)]

    def _step(self, signal: float, parts: int) -> float:
        direction = torch.zeros(SIZE, dtype=torch.float64)
        direction[0] = signal
        for _ in range(parts):
            draw = torch.randn(SIZE, dtype=torch.float64, generator=self.generator)
            loss = self.weights @ (direction + self.noise * draw) / parts
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
        multiplier = self.regulator.before_step()
        self.steps.step(None, None)
        return multiplier

    def _squares(self) -> tuple[float, float, int] | None:
        found = self.steps.pass_squares()
        return None if found is None else (float(found[0]), float(found[1]), found[2])


def test_the_multiplier_is_the_share_of_the_signal_in_the_squared_gradient() -> None:
    """tr(Sigma) is 400 x .01 = 4 a micro-batch, 1 a batch of four: 2 / (2 + 1) of the squared norm is signal."""
    job = Noisy(relative=False, horizon=300)
    made = job.train(400, math.sqrt(2.0))
    assert made[:299] == [1.0] * 299
    assert made[-1] == pytest.approx(2.0 / 3.0, rel=0.02)


def test_relative_to_the_start_it_falls_with_the_signal() -> None:
    job = Noisy(horizon=100)
    assert job.train(100, math.sqrt(2.0))[-1] == 1.0
    # A quarter of the squared signal: .5 / (.5 + 1) = 1/3, half of the share at the start.
    assert job.train(900, math.sqrt(0.5))[-1] == pytest.approx(0.5, rel=0.1)


def test_it_stays_within_its_bounds_and_its_change_per_step() -> None:
    job = Noisy(horizon=10, lowest=0.5, highest=1.0, max_change_per_step=1.05)
    made = job.train(100, 3.0) + job.train(300, 0.0)
    assert min(made) == 0.5
    assert max(made) == 1.0
    steps = [after / before for before, after in pairwise(made)]
    assert min(steps) >= 1.0 / 1.05 - 1e-12
    assert max(steps) <= 1.05 + 1e-12


def test_a_step_of_one_micro_batch_moves_nothing() -> None:
    job = Noisy(horizon=10)
    job.train(50, 1.0)
    before = job.regulator.multiplier
    assert job.train(5, 100.0, parts=1) == [before] * 5


def test_gradients_that_are_not_finite_move_nothing() -> None:
    job = Noisy(horizon=10)
    before = job.train(50, 1.0)[-1]
    assert job.train(1, math.inf) == [before]
    assert job.train(1, 1e200) == [before]


def test_what_was_kept_of_it_goes_on_as_if_it_had_never_stopped() -> None:
    job = Noisy(horizon=20)
    job.train(40, 1.0)
    document, state = job.regulator.document(), job.generator.get_state()
    expected = job.train(10, 0.5)
    job.generator.set_state(state)
    job.regulator = job.another(horizon=20)
    job.regulator.load(document)
    assert job.train(10, 0.5) == expected
    assert expected[-1] != expected[0]


STEPS = 60
RULE = SignalToNoise(horizon=10, lowest=0.01, highest=1.0, max_change_per_step=2.0)
REGULATED: Segment = segment(1, 0, when="now", length=STEPS).model_copy(update={"feedback": RULE})


def whole_run(parts: int, scaler: Any = None, **settings: Any) -> ScriptedTransport:
    """Return what a run of a small regression, accumulated over ``parts``, told the service."""
    torch.manual_seed(0)
    model = nn.Linear(6, 1)
    transport = ScriptedTransport(segments=[REGULATED])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run = attach(
        model,
        optimizer,
        transport,
        budget=pacesetter.Steps(STEPS),
        scaler=scaler,
        **{"statistics": ("gradient_noise",), **settings},
    )
    generator = torch.Generator().manual_seed(1)
    while not run.done:
        losses = []
        for _ in range(parts):
            inputs = torch.randn(8, 6, generator=generator)
            targets = inputs.sum(1, keepdim=True) + torch.randn(8, 1, generator=generator)
            loss = (model(inputs) - targets).square().mean() / parts
            scaled: Tensor = loss if scaler is None else scaler.scale(loss)
            scaled.backward()  # type: ignore[no-untyped-call]  # torch's
            losses.append(loss.detach())
        run.step(torch.stack(losses).sum())
    run.finish()
    return transport


def column(transport: ScriptedTransport, name: str) -> list[float]:
    found = [each.columns.get(name, []) for each in transport.of(Measurements)]
    return [value for values in found for value in values if value is not None]


def test_in_a_whole_run_the_rate_falls_as_the_signal_does_and_the_moments_are_reported() -> None:
    transport = whole_run(4)
    spec = transport.spec
    assert spec is not None
    assert "snr" in spec.capabilities.feedback
    assert spec.capabilities.statistics == ("gradient_noise",)
    multipliers = column(transport, "multiplier")
    assert multipliers[:9] == [1.0] * 9
    assert multipliers[-1] < 0.5
    small, big = column(transport, "micro_square"), column(transport, "batch_square")
    assert column(transport, "micro_batches") == [4.0] * STEPS
    # Towards the end there is noise only: a batch of four has a quarter of a micro-batch's.
    assert sum(small[-20:]) / sum(big[-20:]) == pytest.approx(4.0, rel=0.4)


def test_a_scaler_changes_nothing() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled, plain = whole_run(2, scaler=scaler), whole_run(2)
    for name in ("multiplier", "micro_square", "batch_square"):
        assert column(scaled, name) == pytest.approx(column(plain, name), rel=1e-5)


def test_the_rule_needs_no_statistic() -> None:
    silent = whole_run(4, statistics=())
    assert column(silent, "micro_square") == []
    assert column(silent, "multiplier")[-1] < 0.5


def test_a_run_of_one_backward_pass_a_step_keeps_the_schedule() -> None:
    transport = whole_run(1)
    assert set(column(transport, "multiplier")) == {1.0}
    assert "refused" not in {each.status for each in transport.of(Acknowledgement)}


def test_passes_are_seen_only_while_something_looks_at_them() -> None:
    job = Noisy()
    assert job.train(1, 1.0) == [1.0]
    job.steps.leave_passes()
    job.weights.sum().backward()  # type: ignore[no-untyped-call]  # torch's
    assert job.steps.pass_squares() is None
    assert not job.weights._backward_hooks
    measuring = OptimizerSteps(
        {"sgd": torch.optim.SGD([job.weights], lr=1e-3)}, None, statistics=("gradient_noise",)
    )
    measuring.leave_passes()  # the statistic goes on
    for _ in range(2):
        job.weights.sum().backward()  # type: ignore[no-untyped-call]  # torch's
    assert measuring.pass_squares() is not None
