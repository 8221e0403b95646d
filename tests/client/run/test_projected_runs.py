"""Projection beside everything that a run does: verification of the rate, probes, restarts."""

from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.projection import NormProjection
from pacesetter.protocol import Acknowledgement
from pacesetter.run.verification import Verifier
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from tests.client.run.verified import LR, OPTIMIZERS, observe, weights
from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import FEATURES, attach, train


class Normalised(nn.Module):
    """A layer of 1024 weights whose scale does not matter, as Verifier looks at none below 1000."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.output = nn.Linear(FEATURES, 256, bias=False), nn.Linear(256, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = nn.functional.layer_norm(self.hidden(inputs), (256,)).relu()
        out: Tensor = self.output(hidden)
        return out


def mostly_zero() -> list[nn.Parameter]:
    parameters = weights()
    with torch.no_grad():
        parameters[0].mul_(torch.rand(parameters[0].shape) > 0.9)
    return parameters


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("projected_first", [False, True])
def test_applied_rate_is_verified_behind_a_projection(name: str, projected_first: bool) -> None:
    parameters = weights()
    optimizer = OPTIMIZERS[name](parameters)
    projection = NormProjection({"w": parameters[0]}, optimizer)
    if not projected_first:  # hooks run in the order in which they were registered
        Verifier(optimizer).arm()
    seen = observe(optimizer, parameters, LR)

    assert seen.status == "verified"
    assert seen.lr_applied == pytest.approx(LR, rel=1e-6)
    assert projection.last_factors[id(parameters[0])] != 1.0
    assert observe(optimizer, parameters, 1.02 * LR).status == "mismatch"


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_weights_that_are_zero_raise_no_false_alarm(kind: Any) -> None:
    parameters = mostly_zero()
    optimizer = kind(parameters, lr=10 * LR)
    NormProjection({"w": parameters[0]}, optimizer)

    # Projection scales the whole change of a zero weight by one factor: that looks like another learning rate.
    assert observe(optimizer, parameters, 10 * LR, steps=1).status == "verified"


def test_steps_between_two_projections_are_verified_too() -> None:
    parameters = weights()
    optimizer = SGD(parameters, LR)
    NormProjection({"w": parameters[0]}, optimizer, every=2)

    assert [observe(optimizer, parameters, LR, steps=1).status for _ in range(4)] == [
        "verified"
    ] * 4


def start(
    transport: ScriptedTransport, **settings: Any
) -> tuple[pacesetter.Run, Normalised, NormProjection]:
    model = Normalised()
    optimizer = SGD(model.parameters(), lr=0.003)
    projection = NormProjection({"hidden": model.hidden.weight}, optimizer, every=3)
    extras = {"projection": projection}
    return attach(model, optimizer, transport, extras=extras, **settings), model, projection


def test_the_main_line_after_a_probe_is_that_of_a_run_without_it() -> None:
    probe = segment(2, 1, kind="probe", start=5, length=4, policy=constant(3.0), data="rewind")
    probed = ScriptedTransport(segments=[segment(1, 0, when="now", length=5), probe])
    probed.inbox.append(segment(3, 2, start=5, length=15, **{"from": "current"}))
    run, model, projection = start(probed)
    start_norm = projection.norms()["hidden"]
    rows = train(run, model)
    plain_run, plain, undisturbed = start(ScriptedTransport())
    train(plain_run, plain)

    assert [row["main"] for row in rows].count(False) == 4
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert ours.isfinite().all()
        assert torch.equal(ours, theirs)
    assert projection.steps == undisturbed.steps == 20
    projection.project()
    assert projection.norms()["hidden"] == pytest.approx(start_norm, rel=1e-6)


def test_segments_are_acknowledged_as_verified() -> None:
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=20)])
    run, model, projection = start(transport)
    projection.every = 1
    train(run, model)
    run.finish()
    applied = [each for each in transport.of(Acknowledgement) if each.status == "applied"]

    assert [group.verification for each in applied for group in each.groups] == ["verified"]
