"""Tune's trials planned by a real controller."""

import atexit
import pickle
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from pacesetter.errors import ConfigurationError, ServiceError
from pacesetter.integrations.ray_tune import PacesetterSearcher
from pacesetter.integrations.ray_tune.asking import Asking, NewExperiment
from pacesetter.leasing.calls import TrialCalls
from pacesetter.leasing.holding import Held, Holdings
from pacesetter.protocol import ExperimentSpec, Lease, Range, Target, Trial
from pacesetter.transport.timing import Timing
from ray import tune
from ray.tune.search import Searcher

from tests.client.integrations.conftest import LEASE_SECONDS
from tests.client.integrations.trainables import STEPS, descend, picky, waits
from tests.faults.harness import ControllerProcess, eventually, free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray")]

RATES = {"lr": tune.loguniform(2.0**-6, 2.0**-2)}


def tuner_of(
    train: Any,
    searcher: PacesetterSearcher,
    folder: Path,
    space: dict[str, Any],
    trials: int,
    **settings: Any,
) -> tune.Tuner:
    return tune.Tuner(
        train,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", search_alg=searcher, num_samples=trials
        ),
        run_config=tune.RunConfig(
            name=folder.name, storage_path=str(folder), verbose=0, **settings
        ),
    )


def asking(controller: ControllerProcess, **settings: Any) -> PacesetterSearcher:
    return PacesetterSearcher(**{"step": "step", "url": controller.url, **settings})


def trials_of(controller: ControllerProcess, searcher: PacesetterSearcher) -> list[dict[str, Any]]:
    path = f"/v1/experiments/{searcher.experiment}/trials"
    trials: list[dict[str, Any]] = controller.get(path, page_size=100)["trials"]
    return trials


def ended(
    controller: ControllerProcess, searcher: PacesetterSearcher, count: int
) -> list[dict[str, Any]]:
    def over() -> list[dict[str, Any]] | None:
        trials = trials_of(controller, searcher)
        done = [one for one in trials if one["status"] not in ("queued", "leased")]
        return done if len(done) == count else None

    return eventually(over, f"{count} trials of {searcher.experiment} that have ended")


def claimed(searcher: PacesetterSearcher, trial_id: str) -> dict[str, Any]:
    """Ask as Tune does until there is a trial; return its configuration."""

    def ask() -> dict[str, Any] | None:
        config = searcher.suggest(trial_id)
        return config if isinstance(config, dict) else None

    return eventually(ask, "a trial")


def abandon(searcher: PacesetterSearcher) -> None:
    """Leave everything as it is, as a process that is killed does."""
    book = searcher._book
    assert book is not None
    atexit.unregister(book.close)
    for thread in (book._asking, book._heart, book._delivery):
        assert thread.stop(20.0)


def expired(controller: ControllerProcess) -> int:
    """Return how many leases have run out by the database's clock."""
    with closing(sqlite3.connect(controller.folder / "pacesetter.db")) as database:
        query = (
            "SELECT count(*) FROM trials WHERE status = 'leased' AND "
            "lease_expires_at < strftime('%Y-%m-%d %H:%M:%f', 'now')"
        )
        return int(database.execute(query).fetchone()[0])


def test_the_service_plans_the_trials_and_gets_what_they_measured(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    searcher = asking(
        controller,
        strategy="grid",
        parameters={"points": 3},
        target=Target(family="planned parabola", parameters=1e3, batch_tokens=8, regime="vision"),
        metrics=("peak",),
    )

    results = tuner_of(descend, searcher, tmp_path, {**RATES, "batch": 8}, 5).fit()
    searcher.close()

    assert len(results) == 3  # the grid has no more
    trials = ended(controller, searcher, 3)
    assert sorted(one["parameters"]["lr"] for one in trials) == [2.0**-6, 2.0**-4, 2.0**-2]
    for one in trials:
        lr = one["parameters"]["lr"]
        x = (1.0 - 2.0 * lr) ** 3 * (1.0 - lr) ** 3
        assert one["loss"] == pytest.approx(x * x, rel=1e-12)
        assert (one["status"], one["attempts"]) == ("done", 1)
        assert one["parameters"]["batch"] == 8
        assert one["metrics"] == {"peak": lr}
        assert one["cost"]["steps"] == STEPS
        columns = controller.get(f"/v1/trials/{one['id']}")["columns"]
        assert columns["step"] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert columns["lr"] == [lr] * 3 + [lr / 2] * 3
    experiment = controller.get(f"/v1/experiments/{searcher.experiment}")
    assert experiment["status"] == "completed"
    assert experiment["spec"]["regime"] == "vision"
    curves = eventually(
        lambda: controller.get("/v1/curves", family="planned parabola")["curves"], "their curves"
    )
    assert {curve["record"]["regime"] for curve in curves} == {"vision"}


def test_a_trial_that_raises_has_failed_and_the_search_goes_on(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    searcher = asking(controller, strategy="grid", parameters={"points": 4})

    results = tuner_of(picky, searcher, tmp_path, RATES, 4).fit()
    searcher.close()

    assert results.num_errors == 2
    trials = ended(controller, searcher, 4)
    by_rate = {one["parameters"]["lr"]: one for one in trials}
    statuses = [by_rate[lr]["status"] for lr in sorted(by_rate)]
    assert statuses == ["done", "done", "failed", "failed"]
    failed = by_rate[max(by_rate)]
    assert "The trial raised in Ray Tune" in failed["error"]
    # What it had taken until then is counted.
    assert failed["cost"]["steps"] == 1


def test_an_objective_to_maximise_is_told_with_its_sign_turned(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    searcher = asking(controller, strategy="grid", parameters={"points": 2})
    tuner = tune.Tuner(
        descend,
        param_space=RATES,
        tune_config=tune.TuneConfig(metric="peak", mode="max", search_alg=searcher, num_samples=2),
        run_config=tune.RunConfig(name="max", storage_path=str(tmp_path), verbose=0),
    )

    tuner.fit()
    searcher.close()

    trials = ended(controller, searcher, 2)
    assert sorted(one["loss"] for one in trials) == [-(2.0**-2), -(2.0**-6)]


def test_a_service_that_dies_in_between_holds_up_new_trials_alone(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.write_text("2")
    searcher = asking(controller, strategy="random", seed=3)

    def kill_and_start() -> None:
        eventually(
            lambda: (
                searcher.experiment
                and any(one["step"] == 2 for one in trials_of(controller, searcher))
            ),
            "a trial at its second step",
        )
        controller.kill()
        gate.write_text("6")
        eventually(lambda: next(tmp_path.glob("**/done"), None), "a trial that ended meanwhile")
        controller.start()

    thread = threading.Thread(target=kill_and_start)
    thread.start()
    space = {**RATES, "gate": str(gate)}
    results = tuner_of(waits, searcher, tmp_path, space, 4).fit()
    thread.join()
    searcher.close()

    assert len(results) == 4
    trials = ended(controller, searcher, 4)
    assert [(one["status"], one["attempts"], one["loss"]) for one in trials] == [
        ("done", 1, 1.0 / STEPS)
    ] * 4
    for one in trials:
        columns = controller.get(f"/v1/trials/{one['id']}")["columns"]
        assert columns["step"] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_restored_searcher_goes_on_with_the_leases_that_it_had(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    first = asking(controller, strategy="random", seed=4)
    first.set_search_properties("loss", "min", RATES, num_samples=2)
    configs = [claimed(first, name) for name in ("a", "b")]
    first.on_trial_result("a", {"loss": 3.0, "step": 1, "lr": 0.1})
    path = tmp_path / "searcher.json"
    first.save(str(path))
    abandon(first)
    # Until its leases have run out, and somebody could claim them.
    eventually(lambda: expired(controller) == 2, "leases that have run out", 20 * LEASE_SECONDS)

    second = asking(controller, strategy="random", seed=4)
    second.set_search_properties("loss", "min", RATES, num_samples=2)
    second.restore(str(path))
    assert second.suggest("c") in (None, Searcher.FINISHED)
    second.on_trial_complete("a", {"loss": 2.0, "step": 2, "lr": 0.1})
    second.on_trial_complete("b", {"loss": 1.0, "step": 1})
    trials = ended(controller, second, 2)
    eventually(lambda: second.suggest("c") == Searcher.FINISHED, "the end of the experiment")
    second.close()

    assert second.experiment == first.experiment
    assert [one["loss"] for one in trials] == [2.0, 1.0]
    assert [one["attempts"] for one in trials] == [1, 1]
    assert [one["parameters"]["lr"] for one in trials] == [config["lr"] for config in configs]


@pytest.mark.parametrize("silent_for", [None, 31.0])
def test_nothing_is_claimed_before_a_lease_that_may_have_run_out_is_taken_up_again(
    controller: ControllerProcess, silent_for: float | None
) -> None:
    connect = partial(TrialCalls, lambda: controller.url, None, Timing())
    trial = Trial(
        id="t",
        experiment="e",
        number=1,
        proxy="noop",
        parameters={},
        seed=0,
        attempt=1,
        progress_seconds=1.0,
    )
    kept = Held(Lease(trial=trial, token="token", seconds=60.0))
    if silent_for is not None:
        kept.beaten = monotonic() - silent_for
    holdings = Holdings()
    holdings.add(kept)
    spec = ExperimentSpec(
        name="one",
        proxy=f"tune:kept_{silent_for is None}",
        space={"lr": Range(low=1, high=2)},
        max_trials=1,
    )
    asking = Asking(connect, holdings, "w", NewExperiment(spec, f"key-{silent_for}"), lambda: None)
    asking.ask()

    with closing(connect()) as calls:
        pauses = [asking._round(calls) for _ in range(3)]
        before = len(asking.claimed)
        kept.beaten = monotonic()
        asking._round(calls)

    assert (before, len(asking.claimed)) == (0, 1)
    # It looks again soon: the heartbeat is under way.
    assert pauses == [0.05] * 3
    assert asking.experiment is not None


def test_two_searches_of_one_name_take_each_their_own_trials(controller: ControllerProcess) -> None:
    searchers = [asking(controller, strategy="random", seed=seed) for seed in (5, 6)]
    for searcher in searchers:
        searcher.set_search_properties("loss", "min", RATES, num_samples=1)

    configs = [claimed(searcher, "a") for searcher in searchers]

    rates = [trials_of(controller, searcher)[0]["parameters"]["lr"] for searcher in searchers]
    assert [config["lr"] for config in configs] == rates
    assert rates[0] != rates[1]
    for searcher in searchers:
        searcher.close()


def test_what_tune_never_began_goes_back_when_the_searcher_closes(
    controller: ControllerProcess,
) -> None:
    searcher = asking(controller, strategy="random")
    searcher.set_search_properties("loss", "min", RATES, num_samples=1)
    assert searcher.suggest("a") is None
    eventually(
        lambda: searcher.experiment and trials_of(controller, searcher)[0]["status"] == "leased",
        "a trial that waits for Tune",
    )

    searcher.close()

    [trial] = trials_of(controller, searcher)
    assert (trial["status"], trial["attempts"]) == ("queued", 0)


def test_a_run_that_goes_on_with_an_experiment_names_it(controller: ControllerProcess) -> None:
    first = asking(controller, strategy="random")
    first.set_search_properties("loss", "min", RATES, num_samples=1)
    assert first.suggest("a") is None
    eventually(lambda: first.experiment, "the experiment")
    first.close()

    second = asking(controller, experiment=first.experiment)
    assert second.set_search_properties("loss", "min", {}, num_samples=1)
    config = claimed(second, "a")
    second.on_trial_complete("a", {"loss": 1.5, "step": 3})
    second.close()

    [trial] = ended(controller, second, 1)
    assert (trial["parameters"], trial["loss"]) == (config, 1.5)


def test_an_experiment_whose_trials_workers_run_is_refused(controller: ControllerProcess) -> None:
    spec = {"name": "w", "proxy": "noop", "space": {"lr": {"kind": "range", "low": 1, "high": 2}}}
    reply = controller.api.post("/v1/experiments", json={**spec, "max_trials": 1})
    searcher = asking(controller, experiment=reply.json()["id"])
    searcher.set_search_properties("loss", "min", {})

    with pytest.raises(
        ConfigurationError, match="has the proxy 'noop', whose trials are for workers"
    ):
        claimed(searcher, "a")
    searcher.close()


def test_an_experiment_that_the_service_refuses_ends_the_search_with_its_reason(
    controller: ControllerProcess,
) -> None:
    searcher = asking(controller, strategy="rungs")
    searcher.set_search_properties("loss", "min", RATES, num_samples=4)

    with pytest.raises(ServiceError, match="strategy 'rungs' cannot plan this experiment"):
        claimed(searcher, "a")
    searcher.close()


def test_while_there_is_no_service_tune_is_told_to_ask_again(tmp_path: Path) -> None:
    searcher = PacesetterSearcher("loss", "min", url=f"http://127.0.0.1:{free_port()}")
    searcher.set_search_properties(None, None, RATES, num_samples=1)

    assert [searcher.suggest("a") for _ in range(3)] == [None, None, None]
    searcher.close()


def test_tune_may_keep_the_searcher(controller: ControllerProcess) -> None:
    searcher = asking(controller, strategy="random")
    searcher.set_search_properties("loss", "min", RATES, num_samples=1)
    config = claimed(searcher, "a")

    twin = pickle.loads(pickle.dumps(searcher))

    assert twin.experiment == searcher.experiment
    assert twin._kept["trials"]["a"]["lease"]["trial"]["parameters"] == config
    searcher.close()


@pytest.mark.parametrize(
    ("settings", "config", "trials", "message"),
    [
        ({}, {"lr": 0.1}, 4, "nothing is searched; give tune.Tuner a param_space"),
        ({}, RATES, 0, "nothing says how many trials there are; set num_samples"),
        ({"name": "a\nb"}, RATES, 4, "this cannot be an experiment"),
        ({"mode": "least", "metric": None}, RATES, 4, "the objective is None, mode 'least'"),
    ],
)
def test_what_no_experiment_can_be_made_of_is_said_before_a_trial_runs(
    settings: dict[str, Any], config: dict[str, Any], trials: int, message: str
) -> None:
    objective = {"metric": "loss", "mode": "min"}
    metric, mode = (settings.pop(name, objective[name]) for name in objective)
    searcher = PacesetterSearcher(url="http://127.0.0.1:9", **settings)
    searcher.set_search_properties(metric, mode, config, num_samples=trials)

    with pytest.raises(ConfigurationError, match=message):
        searcher.suggest("a")


def test_a_space_of_ours_leaves_tune_none_to_search() -> None:
    space = {"lr": Range(low=0.1, high=0.2)}
    searcher = PacesetterSearcher("loss", "min", space=space, url="http://127.0.0.1:9")

    assert searcher.set_search_properties(None, None, {"batch": 8}, num_samples=1) is True
    assert searcher.set_search_properties(None, None, RATES, num_samples=1) is False
