from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from pacesetter import Limits
from pacesetter.schedules import Schedule

from benchmarks.quality.engine import train
from benchmarks.quality.steered import Batches, Steering, run_steered
from benchmarks.quality.tasks import named
from tests.faults.harness import ControllerProcess

STEPS = 400
(LOGISTIC,) = named("digits-logistic")
SHORT = replace(LOGISTIC, steps=STEPS)


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    process = ControllerProcess(tmp_path_factory.mktemp("controller"))
    process.start()
    yield process
    process.stop()


@pytest.fixture(autouse=True)
def one_thread_and_a_controller(
    controller: ControllerProcess,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    monkeypatch.setenv("PACESETTER_URL", controller.url)
    monkeypatch.setenv("PACESETTER_DIR", str(tmp_path_factory.mktemp("journal")))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_job_on_its_base_schedule_ends_where_the_plain_loop_does() -> None:
    job = run_steered(SHORT, Steering("fixed", {}, 0.0, Limits()), 0.5, STEPS, seed=4)
    plain = train(SHORT, Schedule.default_base(STEPS), 0.5, STEPS, seed=4)
    assert pytest.approx((plain.A, plain.B), rel=1e-6) == (job.A, job.B)
    assert (job.steps, job.main_steps) == (STEPS, STEPS)
    assert job.interval is None
    assert not job.lost


def test_probes_are_counted_and_the_belief_comes_from_the_audit_trail() -> None:
    steering = Steering("zero_tuning", {"trust": 0.0}, 0.15, Limits())
    found = run_steered(SHORT, steering, 1e-3, STEPS, seed=4)
    assert found.main_steps == STEPS
    assert STEPS < found.steps <= 1.15 * STEPS
    assert found.decisions["main"] == 1
    assert found.interval is not None
    assert found.log2_lr is not None
    assert found.interval[0] < found.log2_lr < found.interval[1]
    assert found.seconds["probe"] > 0.0


def test_a_job_that_blows_up_scores_what_the_untrained_model_does() -> None:
    (mlp,) = named("digits-mlp")
    found = run_steered(mlp, Steering("fixed", {"guard": False}, 0.0, Limits()), 1e5, 60, seed=0)
    assert found.lost
    assert mlp.open(0).validate("B") == found.B


def test_the_loader_tells_how_often_data_repeat() -> None:
    (language,) = named("bytes-lm")
    assert Batches(LOGISTIC.open(0)).epoch_batches == 1079 // 32
    assert Batches(language.open(0)).epoch_batches is None


def test_a_job_beside_workers_hears_trials_that_end_while_it_trains() -> None:
    steering = Steering("proxy", {"trust": 0.0}, 0.15, Limits(), workers=4)
    found = run_steered(SHORT, steering, 1e-3, STEPS, seed=4)
    alone = run_steered(SHORT, Steering("fixed", {}, 0.0, Limits()), 1e-3, STEPS, seed=4)
    assert found.main_steps == STEPS
    assert STEPS <= found.steps <= 1.15 * STEPS
    # Seven rates for a sixteenth of the steps, and three or more for an eighth and for a quarter; some diverge.
    assert found.beside_steps >= 4 * STEPS // 16 + 3 * STEPS // 8 + 2 * STEPS // 4
    assert found.decisions["moves"] >= 1
    assert found.B < 0.9 * alone.B
