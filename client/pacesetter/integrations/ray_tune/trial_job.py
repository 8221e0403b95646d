"""One run of somebody else's training, reported as a job that nobody steers."""

import logging
import secrets

from pacesetter.errors import RegistrationRefused
from pacesetter.protocol import (
    Budget,
    Finished,
    JobSpec,
    LedgerTotals,
    Measurements,
    ParameterGroup,
    SessionBegan,
    StrategyChoice,
    Tags,
    Target,
)
from pacesetter.schedules import Constant, Schedule
from pacesetter.transport.base import Transport

logger = logging.getLogger("pacesetter")

MAX_DETAIL = 4000
"""Characters of why a job ended, as the protocol takes them."""


def observed(
    name: str, external_id: str, steps: int, lr: float, target: Target | None, tags: Tags
) -> JobSpec:
    """Return the spec of a job that is watched only: authority ``observe``, no state that could be brought back.

    Args:
        name: For people.
        external_id: The same at every start of the run.
        steps: Optimizer steps of the whole run.
        lr: Its first learning rate.
        target: What is trained, as far as it is known.
        tags: What to remember it by.

    Raises:
        pydantic.ValidationError: No job can have one of them.
    """
    what = target or Target()
    group = ParameterGroup(
        name="all",
        base_lr=lr,
        optimizer=what.optimizer,
        momentum=what.momentum,
        parameters=int(what.parameters or 0),
    )
    return JobSpec(
        name=name,
        external_id=external_id,
        nonce=secrets.token_hex(16),
        budget=Budget(total=steps),
        # What it really follows is in its reports.
        base=Schedule(length=steps, body=Constant()),
        groups=(group,),
        authority="observe",
        strategy=StrategyChoice(name="fixed"),
        regime="other" if target is None else target.regime,
        workload=what.workload(),
        tags=tags,
    )


class TrialJob:
    """A session of a watched job. No method waits for the service, or raises because of it.

    Args:
        transport: Takes the records; closed with this.
        spec: See :func:`observed`.
        done: Optimizer steps done before this start of the run; None: it starts from the beginning.
    """

    def __init__(self, transport: Transport, spec: JobSpec, done: int | None = None) -> None:
        self.spec = spec
        self._transport = transport
        self._resumed = done is not None
        self._done = done or 0
        self._began = False
        self._rows = 0
        try:
            transport.register(spec, 0.0)
        except RegistrationRefused as error:
            logger.warning("%s is not reported: %s", spec.name, error)

    @property
    def done(self) -> int:
        """Optimizer steps done, as far as they were told."""
        return self._done

    def measured(self, step: int, loss: float | None, lr: float | None) -> None:
        """Report what was measured when ``step`` optimizer steps were done, 1 or more."""
        # After a failure, and where a population copies another member, a run goes on from further back.
        self._begin(min(self._done, step - 1))
        self._done = step
        self._rows += 1
        row = self._rows
        self._transport.send(
            lambda number: Measurements(
                number=number,
                segment=0,
                position=step,
                columns={
                    "position": [float(step - 1)],
                    "step": [float(row)],
                    "loss": [loss],
                    "lr": [lr],
                },
            ),
            ledger=LedgerTotals(main_steps=step),
        )

    def end(self, problem: str | None = None) -> None:
        """Report the end: that of the whole run, unless it came before its last step or with a ``problem``."""
        self._begin(self._done)
        done, total = self._done, self.spec.budget.total
        completed = problem is None and done >= total
        if problem is None and not completed:
            problem = f"stopped after {done} of {total} steps"
        detail = None if problem is None else problem[-MAX_DETAIL:].replace("\0", "\\0")
        self._transport.send(
            lambda number: Finished(
                number=number, segment=0, position=done, completed=completed, detail=detail
            )
        )
        self._transport.flush()

    def close(self, timeout_seconds: float) -> int:
        """Send what is left; return how many records stayed for ``pacesetter sync``."""
        return self._transport.close(timeout_seconds)

    def _begin(self, position: int) -> None:
        if self._began:
            return
        self._began = True
        resumed = self._resumed
        self._transport.send(
            lambda number: SessionBegan(
                number=number, segment=0, position=position, resumed=resumed
            )
        )
