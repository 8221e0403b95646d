"""A job that accumulates gradients, with the real controller judging its batch by the noise that it measures."""

from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.schedules import Constant, Schedule

from tests.faults.harness import ControllerProcess

STEPS, PARTS, MICRO_BATCH, SIZE = 400, 4, 8, 20
NOISE = 2.0


def accumulate(run: pacesetter.Run, model: torch.nn.Linear, generator: torch.Generator) -> None:
    """Make one step on four micro-batches of a regression on white inputs."""
    losses = []
    for _ in range(PARTS):
        inputs = torch.randn(MICRO_BATCH, SIZE, generator=generator)
        targets = NOISE * torch.randn(MICRO_BATCH, generator=generator)
        loss = (model(inputs).squeeze(1) - targets).square().mean() / PARTS
        loss.backward()
        losses.append(loss.detach())
    run.step(torch.stack(losses).sum())


@pytest.fixture(scope="module")
def decisions(controller: ControllerProcess) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    model = torch.nn.Linear(SIZE, 1, bias=False)
    model.weight.data.fill_(1.0)
    run = pacesetter.attach(
        model,
        # A rate at which the weights hardly move, so that the true noise scale is known.
        torch.optim.SGD(model.parameters(), lr=1e-6),
        name="snr",
        external_id="signal-to-noise",
        budget=pacesetter.Steps(STEPS),
        base=Schedule(length=STEPS, body=Constant()),
        strategy="snr",
        strategy_parameters={"micro_batch": MICRO_BATCH, "pieces": 2, "horizon": 50},
        statistics=("gradient_noise",),
        url=controller.url,
    )
    generator = torch.Generator().manual_seed(1)
    while not run.done:
        accumulate(run, model, generator)
    result = run.finish()
    assert result.job is not None
    assert (result.refused, result.fallbacks) == (0, 0)
    return [event["body"] for event in controller.events(result.job, "decision")]


def test_the_noise_scale_is_that_of_the_problem(decisions: list[dict[str, Any]]) -> None:
    """By hand: one sample's is ``2 x (x'w - e)``: tr(Sigma) = 4 |w|^2 (SIZE + 1) + 4 SIZE NOISE^2, |G|^2 = 4 |w|^2."""
    last = [each for each in decisions if each["code"] == "batch_advice"][-1]["numbers"]
    squared = float(SIZE)
    true = (4.0 * squared * (SIZE + 1) + 4.0 * SIZE * NOISE**2) / (4.0 * squared)
    assert abs(last["noise_scale"] - true) < 3.0 * last["standard_error"]
    assert last["standard_error"] < 0.2 * true
    assert last["batch"] == PARTS * MICRO_BATCH


def test_the_advice_is_a_sentence_with_both_sizes(decisions: list[dict[str, Any]]) -> None:
    texts = [each["text"] for each in decisions if each["code"] == "batch_advice"]
    assert texts
    assert all("a batch of 32 fits the noise scale of" in text for text in texts)


def test_the_schedule_runs_under_the_rule_in_two_pieces(decisions: list[dict[str, Any]]) -> None:
    planned = [each for each in decisions if each["code"] == "planned"]
    assert len(planned) == 2
    assert all("signal's share" in each["text"] for each in planned)
