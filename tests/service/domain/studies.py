"""Strategies of experiments for the tests: slow ones, ones that wait, and ones that fail."""

import os
from collections.abc import Sequence
from typing import ClassVar

from pacesetter.protocol import TrialPlan
from pacesetter_search.studies import Progress, StudyStrategy
from pacesetter_search.studies.random_search import RandomSearch

DEFAULT_STUDY_STRATEGY = "random"


class SlowRandom(RandomSearch):
    """``random``, asked as a slow strategy is."""

    name: ClassVar[str] = "slow_random"
    slow: ClassVar[bool] = True


class Rounds(SlowRandom):
    """Three rounds of two trials; the next one begins when both of the last have ended."""

    name: ClassVar[str] = "rounds"

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        if progress.planned == 6 or (progress.planned % 2 == 0 and progress.pending):
            return ()
        return super().propose(progress, min(most, 2 - progress.planned % 2))


class Failing(StudyStrategy):
    """Plans one trial, and raises after it."""

    name: ClassVar[str] = "failing"

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        if progress.planned:
            raise RuntimeError("a matrix is singular")
        return [TrialPlan(parameters={"lr": 0.25})]


class SlowFailing(Failing):
    """The same, asked as a slow strategy is."""

    name: ClassVar[str] = "slow_failing"
    slow: ClassVar[bool] = True


class Dying(SlowRandom):
    """Takes its process with it once a trial has ended."""

    name: ClassVar[str] = "dying"

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        if progress.finished:
            os._exit(9)
        return super().propose(progress, most)


class Astray(StudyStrategy):
    """Plans what is not in the space."""

    name: ClassVar[str] = "astray"

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        return [TrialPlan(parameters={"momentum": 0.9})]


class Greedy(RandomSearch):
    """Plans more than it is asked for."""

    name: ClassVar[str] = "greedy"

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        return super().propose(progress, most + 1)


_STRATEGIES = {
    one.name: one
    for one in (
        RandomSearch,
        SlowRandom,
        Rounds,
        Failing,
        SlowFailing,
        Dying,
        Astray,
        Greedy,
    )
}
STUDY_STRATEGIES = tuple(_STRATEGIES)


def get_study_strategy(name: str) -> type[StudyStrategy]:
    return _STRATEGIES[name]
