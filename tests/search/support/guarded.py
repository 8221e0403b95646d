"""A job in memory that keeps snapshots, reports norms, and meets trouble where a test puts it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pacesetter.protocol import Notice, Segment
from pacesetter.run import effects as fx
from pacesetter.run.stopping import Clauses

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob

Spoil = Callable[["GuardedJob", float], float]


@dataclass
class GuardedJob(SimulatedJob):
    """Adds what the guard needs of a client to the simulated job.

    Attributes:
        spoil: Returns the loss that is seen, given the job and the loss that there was.
        norm: Returns the gradient norm of the step, or None where none is reported.
    """

    landscape: NoisyQuadratic = field(default_factory=NoisyQuadratic)
    spoil: Spoil = lambda _, loss: loss
    norm: Callable[["GuardedJob"], float | None] = lambda _: None
    states: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.main_clauses = Clauses(())
        self.recovered: list[str] = []
        self.waits = 0
        step = self.landscape.step
        self.landscape.step = lambda lr: self.spoil(self, step(lr))  # type: ignore[method-assign]
        self.states["initial"] = self.landscape.save()
        self.follower.checkpoints["initial"] = 0

    def run(self) -> "GuardedJob":
        """Run the job to its end."""
        super().run()
        return self

    def _step(self) -> str | None:
        norm = self.norm(self)
        code = super()._step()
        if code is None and norm is not None:
            code = self.clauses.judge_norm(norm)
        if code is not None and self.follower.on_main_line:
            self._notice("STOPPED", {"clause": code, **_plain(self.clauses.evidence)})
            self.main_clauses.interrupt()
        return code

    def _notice(self, code: str, numbers: dict[str, Any]) -> None:
        self._flush()
        values = {**self._place(), "level": "info", "code": code, "detail": "", "numbers": numbers}
        self._tell(Notice.model_validate(values))

    def _do(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Save():
                self.states[effect.name] = self.landscape.save()
                if effect.rolling:
                    numbers = {"name": effect.name, "position": effect.position}
                    self._notice("SNAPSHOT_KEPT", numbers)
            case fx.Load():
                self.landscape.restore(self.states[effect.name], rewind=effect.rewind)
                if effect.main:
                    self.main_clauses.resume()
            case fx.FallBack() if effect.restored is not None:
                self.recovered.append(effect.restored)
                super()._do(effect)
            case fx.Wait():
                self.waits += 1
                super()._do(effect)
            case fx.Begin():
                super()._do(effect)
                self._watch(effect.segment)
            case _:
                super()._do(effect)

    def _watch(self, segment: Segment) -> None:
        main = segment.kind == "main"
        self.clauses = Clauses(segment.stop_if, before=self.main_clauses if main else None)
        if main:
            self.main_clauses = self.clauses


def _plain(evidence: dict[str, float]) -> dict[str, float | str]:
    return {name: value if abs(value) < 1e300 else str(value) for name, value in evidence.items()}


def guard_log(job: SimulatedJob) -> list[str]:
    """Return the codes of what the guard did, in order."""
    return [entry.code for entry in job.controller.log if entry.code.startswith("guard_")]
