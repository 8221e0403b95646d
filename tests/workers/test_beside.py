"""A real training, a real controller and a real worker: the training takes its peak from what the worker runs."""

import pacesetter
import pytest

from tests.faults.harness import eventually
from tests.protocol.training import BASE, Training
from tests.workers.conftest import Fleet
from tests.workers.support import OWN

STEPS = 2000
BEST = 2.0**-9
"""Of the proxy; the training is given more than five times that."""


@pytest.fixture(autouse=True)
def journal_in_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACESETTER_DIR", str(tmp_path_factory.mktemp("journal")))


def test_a_training_is_moved_to_where_its_proxies_found_the_best_rate(fleet: Fleet) -> None:
    proxy = f"{OWN}:bowl"
    fleet.worker("beside", "--executor", "inline", "--allow", proxy)
    # It is held at its first step until it is moved, so its main line has to begin at once.
    at_once = {"probe_share": 0.0}
    training = Training(
        fleet.controller, STEPS, strategy=None, strategy_parameters=at_once, proxy=proxy
    )
    training.step()
    view = fleet.controller.get(f"/v1/jobs/{training.job}")
    assert view["strategy"] == "proxy"
    experiment = fleet.controller.get(f"/v1/experiments/{view['experiment']}")
    assert experiment["job"] == training.job

    def moved() -> bool:
        decisions = fleet.controller.events(training.job, "decision")
        return any(event["body"]["code"] == "moves" for event in decisions)

    # The training is held until the trials have spoken: a worker of one slot runs ten of them.
    eventually(moved, "a move", 120.0)
    training.finish_training()
    result = training.run.finish()
    assert result.completed
    line = training.main_line()
    assert 0.3 * BEST < line[STEPS // 2] < 0.9 * BEST
    body, head = (training.rows[-5][2][name] for name in ("body", "head"))
    assert body / head == pytest.approx(BASE["body"] / BASE["head"])
    eventually(
        lambda: (
            fleet.controller.get(f"/v1/experiments/{view['experiment']}")["status"] != "running"
        ),
        "the end of the experiment",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"proxy": "rm -rf"}, "proxy is 'rm -rf'; expected a built-in proxy such as 'byte_lm'"),
        ({"proxy": "noop", "experiment": "exp_1"}, "leave one of them out"),
        ({"experiment": "a\nb"}, "experiment is 'a\\nb'; expected"),
    ],
)
def test_proxies_that_cannot_be_are_said_at_attach(
    fleet: Fleet, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(pacesetter.ConfigurationError) as refused:
        Training(fleet.controller, STEPS, **settings)
    assert message in str(refused.value)


def test_an_experiment_that_there_is_not_is_refused_when_the_training_begins(fleet: Fleet) -> None:
    training = Training(fleet.controller, STEPS, strategy=None, experiment="exp_none")
    with pytest.raises(pacesetter.RegistrationRefused, match="no experiment 'exp_none'"):
        training.step()
