"""What the process of slow strategies is given and what it answers."""

from typing import Any, Literal

from pacesetter.protocol import Cost, ExperimentSpec, Message, TrialPlan, Value
from pacesetter_search.studies import Finished

from pacesetter_service.experiments.questions import Question


class FinishedTrial(Message):
    """A trial that ended, as strategies take it."""

    number: int
    parameters: dict[str, Value]
    loss: float | None
    cost: Cost
    status: Literal["done", "failed"]


class StudyRequest(Message):
    """A question to a strategy."""

    experiment: str
    strategy: str
    parameters: dict[str, Any]
    spec: ExperimentSpec
    finished: tuple[FinishedTrial, ...]
    pending: tuple[TrialPlan, ...]
    most: int
    planned: int
    revision: int

    @classmethod
    def of(cls, question: Question) -> "StudyRequest":
        """Return a question as it travels."""
        same = {
            name: getattr(question, name) for name in cls.model_fields if name not in ("finished",)
        }
        finished = tuple(
            FinishedTrial(
                number=one.number,
                parameters=one.parameters,
                loss=one.loss,
                cost=one.cost,
                status=one.status,
            )
            for one in question.finished
        )
        return cls(**same, finished=finished)

    def question(self) -> Question:
        """Return the question."""
        finished = tuple(
            Finished(one.number, one.parameters, one.loss, one.cost, one.status)
            for one in self.finished
        )
        same = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ("finished",)
        }
        return Question(**same, finished=finished)


class StudyAnswer(Message):
    """The trials that a strategy asks for, or what went wrong."""

    plans: tuple[TrialPlan, ...] = ()
    error: str | None = None
