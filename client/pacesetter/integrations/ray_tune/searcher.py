"""The service as Tune's search algorithm."""

import json
import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from ray.tune.search import Searcher

from pacesetter.errors import ConfigurationError
from pacesetter.integrations.ray_tune.asking import PREFIX, NewExperiment, Wanted
from pacesetter.integrations.ray_tune.book import TrialBook, read_entries
from pacesetter.integrations.ray_tune.results import Reading
from pacesetter.integrations.ray_tune.space import has_domains, nested, plain, split_space
from pacesetter.leasing.calls import TrialCalls
from pacesetter.protocol import ExperimentSpec, Parameter, StrategyChoice, Target, Value
from pacesetter.transport.opening import find_service
from pacesetter.transport.timing import Timing

MODES = ("min", "max")


@dataclass(frozen=True, slots=True)
class Search:
    """What is to be searched, and by whom."""

    name: str
    strategy: StrategyChoice
    seed: int
    target: Target | None
    space: Mapping[str, Parameter] | None
    max_trials: int | None
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def experiment(self, proxy: str) -> ExperimentSpec:
        """Return it as an experiment.

        Raises:
            ConfigurationError: It is none.
        """
        if not self.space:
            raise ConfigurationError(
                'nothing is searched; give tune.Tuner a param_space such as {"lr": tune.loguniform(1e-4, 1e-1)}, or '
                "PacesetterSearcher a space"
            )
        if self.max_trials is None or self.max_trials < 1:
            raise ConfigurationError(
                "nothing says how many trials there are; set num_samples of tune.TuneConfig, or pass max_trials=20"
            )
        target = self.target or Target()
        try:
            return ExperimentSpec(
                name=self.name,
                proxy=proxy,
                space=dict(self.space),
                fixed=dict(self.fixed),
                strategy=self.strategy,
                max_trials=self.max_trials,
                seed=self.seed,
                regime="other" if self.target is None else target.regime,
                workload=target.workload(),
            )
        except ValidationError as error:
            raise ConfigurationError(f"this cannot be an experiment: {error}") from None


class PacesetterSearcher(Searcher):
    """Has the service plan Tune's trials: an experiment whose trials Tune runs, and no worker.

    Tune's loop never waits for the service: while that is away, or plans, ``suggest`` has nothing and Tune asks again.
    Each trial is held by a lease as a worker holds one. Names are of results or of the configuration; nested ones are
    joined by slashes (``optimizer/lr``).

    Args:
        metric: The objective (else that of ``tune.TuneConfig``).
        mode: ``min`` or ``max`` (else likewise).
        space: What to search (else what is open in Tune's ``param_space``).
        experiment: Id of an experiment to go on with, whose proxy begins with ``tune:``; None: register one.
        name: Of the experiment.
        strategy: Who plans it (``GET /v1/strategies``); None: the service's default.
        parameters: Of the strategy.
        max_trials: None: ``num_samples`` of ``tune.TuneConfig``.
        seed: Of the plans.
        target: What the trials train (``pacesetter.Target``), so that their curves are evidence where it holds.
        lr: The learning rate, in each result or else in the configuration.
        step: Optimizer steps done, in each result.
        tokens: Consumed so far, in each result; None: not counted.
        flops: Spent so far, in each result; None: not counted.
        metrics: What else of the last result the service is to keep, such as ``parameters``.
        url: Address of the service (else ``PACESETTER_URL``).
        token: One of the scopes ``register`` and ``worker`` (else ``PACESETTER_TOKEN``).

    Raises:
        ConfigurationError: No service is set.
    """

    def __init__(
        self,
        metric: str | None = None,
        mode: str | None = None,
        *,
        space: Mapping[str, Parameter] | None = None,
        experiment: str | None = None,
        name: str = "ray tune",
        strategy: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        max_trials: int | None = None,
        seed: int = 0,
        target: Target | None = None,
        lr: str = "lr",
        step: str = "training_iteration",
        tokens: str | None = None,
        flops: str | None = None,
        metrics: Sequence[str] = (),
        url: str | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        find_service(url)
        self._url, self._token = url, token
        self._reading = Reading(lr, step, tokens, flops, tuple(metrics))
        choice = StrategyChoice(name=strategy, parameters=dict(parameters or {}))
        self._search = Search(name, choice, seed, target, space, max_trials)
        self._id = experiment
        # Its own, so that no other search claims its trials, and registered once however often it is tried.
        self._key = secrets.token_hex(8)
        self._spec: ExperimentSpec | None = None
        self._fixed: dict[str, Value] = {}
        self._kept: dict[str, Any] = {"trials": {}}
        self._book: TrialBook | None = None

    @property
    def experiment(self) -> str | None:
        """Id of the experiment; None while it is not registered."""
        return self._id if self._book is None else self._book.experiment or self._id

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take objective and space from Tune; return whether the space could be taken.

        Raises:
            ConfigurationError: Something is searched in a way that experiments do not have.
        """
        self._metric, self._mode = metric or self._metric, mode or self._mode
        samples = spec.get("num_samples") or 0
        if self._search.max_trials is None and samples > 0:
            self._search = replace(self._search, max_trials=samples)
        if self._id is not None or self._search.space:
            self._fixed = plain(config)
            return not has_domains(config)
        space, self._fixed = split_space(config)
        self._search = replace(self._search, space=space, fixed=self._fixed)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the configuration of Tune's next trial; None: not yet; ``FINISHED``: there are no more.

        Raises:
            PacesetterError: There will be none before a person has put something right.
        """
        self._objective()
        book = self._book or self._open()
        trial = book.take(trial_id)
        if trial is None:
            return self.FINISHED if book.is_over else None
        return nested(trial.parameters)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the service what a trial measured."""
        trial = None if self._book is None else self._book.running(trial_id)
        if self._book is None or trial is None:
            return
        config = {**self._fixed, **trial.parameters}
        self._book.note(trial_id, self._reading.read(result, config, *self._objective()))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the service how a trial ended: by its last result, or in an error."""
        if self._book is None:
            return
        if result:
            self.on_trial_result(trial_id, result)
        said = (
            f"The trial raised in Ray Tune, which calls it {trial_id}: see error.txt in its folder."
        )
        self._book.end(trial_id, said if error else None)

    def save(self, checkpoint_path: str) -> None:
        """Write down which trials run, with their leases, for :meth:`restore`."""
        Path(checkpoint_path).write_text(json.dumps(self._state()))

    def restore(self, checkpoint_path: str) -> None:
        """Go on with the trials that ran when the file was saved."""
        self.close()
        document = json.loads(Path(checkpoint_path).read_text())
        self._id, self._key, self._kept = document["experiment"], document["key"], document
        # A run that is restored is not told them again.
        self._metric, self._mode = document["objective"]
        self._fixed = document["fixed"]
        if document["spec"] is not None:
            self._spec = ExperimentSpec.model_validate(document["spec"])
        if document["trials"]:
            # Their leases are running out.
            self._open()

    def close(self) -> None:
        """Send what is left now, rather than when the process ends; give back what Tune did not begin."""
        if self._book is not None:
            self._kept = self._book.document()
            self._id = self.experiment
            self._book.close()
            self._book = None

    def __getstate__(self) -> dict[str, Any]:
        # Tune keeps its searcher on disk; connections and threads are of this process.
        return {**self.__dict__, "_book": None, "_kept": self._state(), "_id": self.experiment}

    def _open(self) -> TrialBook:
        _, locate = find_service(self._url)
        token = self._token or os.environ.get("PACESETTER_TOKEN") or None
        connect = partial(TrialCalls, locate, token, Timing())
        if self._id is None and self._spec is None:
            proxy = f"{PREFIX}{re.sub('[^A-Za-z0-9_]', '_', self._search.name)[:100]}_{self._key}"
            self._spec = self._search.experiment(proxy)
        wanted: Wanted = self._id or NewExperiment(cast(ExperimentSpec, self._spec), self._key)
        worker = f"{socket.gethostname()[:100]}-{os.getpid()}-{self._key}"
        self._book = TrialBook(connect, worker, wanted, read_entries(self._kept))
        return self._book

    def _objective(self) -> tuple[str, str]:
        if not self._metric or self._mode not in MODES:
            raise ConfigurationError(
                f"the objective is {self._metric!r}, mode {self._mode!r}; set metric and mode (min or max) of "
                'tune.TuneConfig, or pass both: PacesetterSearcher("loss", "min")'
            )
        return self._metric, self._mode

    def _state(self) -> dict[str, Any]:
        kept = self._kept if self._book is None else self._book.document()
        spec = None if self._spec is None else self._spec.model_dump_json(exclude_unset=True)
        return {
            "trials": kept["trials"],
            "experiment": self.experiment,
            "key": self._key,
            "objective": (self._metric, self._mode),
            "fixed": self._fixed,
            "spec": None if spec is None else json.loads(spec),
        }
