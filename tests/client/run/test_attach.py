"""What attach takes, refuses, and makes of it."""

from pathlib import Path
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Capabilities, JobSpec
from pacesetter.schedules import Linear
from torch import nn

from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import Noisy, Regression, attach, train

HALVED = segment(1, 0, when="now", length=20, policy=constant(0.5))


def parts() -> tuple[Noisy, torch.optim.SGD]:
    model = Noisy()
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def registered(loader: Any = None, **settings: Any) -> JobSpec:
    """Attach, ask for a first batch, and return what the job said of itself."""
    model, optimizer = parts()
    transport = ScriptedTransport()
    run = attach(model, optimizer, transport, **settings)
    next(run.batches(loader or Regression()))
    assert transport.spec is not None
    return transport.spec


@pytest.mark.parametrize("total", [2.5e9, 1, 10**13])
def test_a_budget_takes_whole_floats(total: float) -> None:
    assert pacesetter.Tokens(total).total == int(total)


@pytest.mark.parametrize("total", [0, -1, 2.5, float("nan"), float("inf"), 2**53 + 1, 1e30])
def test_an_impossible_budget_is_refused(total: float) -> None:
    with pytest.raises(pacesetter.ConfigurationError, match="is impossible; expected"):
        pacesetter.Steps(total)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rollback": "tape"}, "memory"),
        ({"statistics": "grad_norm"}, "as a tuple"),
        ({"statistics": ("sharpness",)}, "parameter_norm"),
        ({"sync_every": 0}, "1 to"),
        ({"waiting_seconds": 1e6}, "300"),
        ({"warmup": 10}, "does not know"),
        ({"name": ""}, "no job can have"),
        ({"controls": {"nowhere": "head"}}, "no parameter groups"),
        (
            {"tags": {"notes": "x" * 70_000}},
            "tags take 70012 bytes as JSON; keep them within 65536",
        ),
    ],
)
def test_what_cannot_work_says_what_would(settings: dict[str, Any], message: str) -> None:
    model, optimizer = parts()
    with pytest.raises(pacesetter.ConfigurationError, match=message):
        attach(model, optimizer, ScriptedTransport(), **settings)


@pytest.mark.parametrize(("model", "optimizer"), [("model", None), (None, "optimizer"), ([], None)])
def test_what_is_no_model_or_optimizer_is_refused(model: Any, optimizer: Any) -> None:
    real_model, real_optimizer = parts()
    with pytest.raises(pacesetter.ConfigurationError, match="expected"):
        attach(
            real_model if model is None else model,
            real_optimizer if optimizer is None else optimizer,
            ScriptedTransport(),
        )


def test_the_default_base_warms_up_and_decays_to_zero_at_the_budget() -> None:
    spec = registered(base=None, budget=pacesetter.Steps(1000))
    assert spec.base.length == 1000
    assert isinstance(spec.base.body, Linear)
    assert spec.base.at(1000) == 0.0


@pytest.mark.parametrize(
    ("loader", "settings", "rollback", "rewind"),
    [
        (Regression(), {}, "memory", "unlimited"),
        (Regression(), {"rollback": "none"}, "none", 0),
        ([Regression().batch_at(0)] * 5, {"buffer_batches": 7}, "memory", 7),
        ([Regression().batch_at(0)] * 5, {"buffer_batches": 0}, "memory", 0),
    ],
)
def test_capabilities_are_those_of_this_training_and_its_data(
    loader: Any, settings: dict[str, Any], rollback: str, rewind: Any
) -> None:
    capabilities = registered(loader, validate=lambda: 1.0, **settings).capabilities
    assert isinstance(capabilities, Capabilities)
    assert (capabilities.rollback, capabilities.rewind_batches) == (rollback, rewind)
    assert (capabilities.validate_, capabilities.world_size) == (True, 1)


def test_a_state_that_does_not_fit_means_no_probes_unless_they_were_asked_for() -> None:
    spec = registered(max_snapshot_bytes=1)
    assert (spec.capabilities.rollback, spec.capabilities.rewind_batches) == ("none", 0)
    model, optimizer = parts()
    run = attach(model, optimizer, ScriptedTransport(), max_snapshot_bytes=1, rollback="memory")
    with pytest.raises(pacesetter.SnapshotError, match="max_snapshot_bytes"):
        run.step(1.0)


def test_states_on_disk_bring_the_main_line_back_too(tmp_path: Path) -> None:
    segments = [
        segment(1, 0, when="now", length=5),
        segment(2, 1, kind="probe", start=5, length=3, policy=constant(3.0), data="rewind"),
    ]
    model, optimizer = parts()
    transport = ScriptedTransport(segments=segments)
    transport.inbox.append(segment(3, 2, start=5, length=15))
    run = attach(model, optimizer, transport, rollback="disk", directory=tmp_path)
    disk = train(run, model)
    run.finish()
    model, optimizer = parts()
    plain = train(attach(model, optimizer, ScriptedTransport()), model)
    assert [row["loss"] for row in disk if row["main"]] == [row["loss"] for row in plain]


def test_several_models_and_optimizers_are_steered_together() -> None:
    body, head = nn.Linear(4, 4), nn.Linear(4, 1)
    optimizers = {
        "body": torch.optim.SGD(body.parameters(), lr=0.1),
        "head": torch.optim.AdamW(head.parameters(), lr=0.01),
    }
    transport = ScriptedTransport(
        segments=[segment(1, 0, when="now", length=20, policy=constant(0.5))]
    )
    run = attach({"body": body, "head": head}, optimizers, transport)  # type: ignore[arg-type]
    for inputs, targets in run.batches(Regression()):
        ((head(body(inputs)) - targets) ** 2).mean().backward()
        run.step(1.0)
    assert run.learning_rates() == {"body/group0": 0.05, "head/group0": 0.005}
    assert optimizers["head"].param_groups[0]["lr"] == 0.005


def test_the_external_id_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACESETTER_JOB_ID", "cluster-17")
    assert registered(external_id=None).external_id == "cluster-17"
    monkeypatch.delenv("PACESETTER_JOB_ID")
    first, second = registered(external_id=None), registered(external_id=None)
    assert first.external_id != second.external_id


def test_disabled_leaves_the_learning_rate_to_the_training_code() -> None:
    model, optimizer = parts()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.1)
    run = pacesetter.attach(
        model, optimizer, name="plain", budget=pacesetter.Steps(10), mode="disabled"
    )
    steps = 0
    for inputs, targets in run.batches(Regression()):
        ((model(inputs) - targets) ** 2).mean().backward()
        assert run.step(1.0, max_grad_norm=1.0)
        scheduler.step()
        steps += 1
    result = run.finish()
    assert (steps, result.steps, result.completed) == (10, 10, True)
    assert run.learning_rates() == pytest.approx({"optimizer/group0": 0.001})


def test_offline_follows_the_base_schedule_and_records(tmp_path: Path) -> None:
    model, optimizer = parts()
    run = pacesetter.attach(
        model,
        optimizer,
        name="offline",
        external_id="offline",
        budget=pacesetter.Steps(10),
        mode="offline",
        directory=tmp_path,
    )
    rows = train(run, model)
    result = run.finish()
    assert [row["lr"] for row in rows] == pytest.approx(
        [0.1 * run.job.base.at(step) for step in range(10)]
    )
    assert result.completed
    # SessionBegan, Measurements, SegmentEnded and Finished wait in the journal.
    assert result.unsent_records == 4
    assert any(tmp_path.rglob("*"))


def test_online_without_an_address_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACESETTER_URL", raising=False)
    model, optimizer = parts()
    with pytest.raises(pacesetter.ConfigurationError, match="PACESETTER_URL"):
        pacesetter.attach(model, optimizer, name="x", budget=pacesetter.Steps(10), mode="online")


def test_a_second_run_of_an_optimizer_is_refused_and_told_of_the_first() -> None:
    model, optimizer = parts()
    first = attach(model, optimizer, ScriptedTransport(), name="gpt-124m")
    with pytest.raises(pacesetter.ConfigurationError, match="already driven by the run 'gpt-124m'"):
        attach(model, {"body": optimizer}, ScriptedTransport())
    first.finish()
    again = attach(model, optimizer, ScriptedTransport())
    assert len(train(again, model)) == 20


def test_a_run_that_was_dropped_leaves_its_optimizer_to_the_next() -> None:
    model, optimizer = parts()
    dropped = attach(model, optimizer, ScriptedTransport())
    dropped.step(1.0)
    del dropped
    rows = train(attach(model, optimizer, ScriptedTransport(segments=[HALVED])), model)
    assert {row["lr"] for row in rows} == {0.05}


def test_an_attach_that_fails_leaves_no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACESETTER_URL", raising=False)
    model, optimizer = parts()
    with pytest.raises(pacesetter.ConfigurationError, match="PACESETTER_URL"):
        pacesetter.attach(
            model, optimizer, name="x", budget=pacesetter.Steps(5), mode="online", url=None
        )
    assert not optimizer._optimizer_step_pre_hooks


def test_public_names_are_sorted_and_all_there() -> None:
    assert pacesetter.__all__ == sorted(pacesetter.__all__)
    for name in pacesetter.__all__:
        assert getattr(pacesetter, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pacesetter.nothing
