"""Strategies of experiments, by name, and what an experiment teaches. Adding a strategy is one file and one line here.

Modules are imported when they are asked for, and none imports torch or BoTorch at its top: the API process knows every
strategy and loads no tensor library.
"""

from importlib import import_module

from pacesetter.errors import PacesetterError

from pacesetter_search.studies.cells import Names, Place
from pacesetter_search.studies.contract import Finished, Progress, StudyStrategy
from pacesetter_search.studies.result import CellOptimum, TransferStudy, transfer_study
from pacesetter_search.studies.writing import document, evidence

_STRATEGIES = {
    "asha": "pacesetter_search.studies.asha:Asha",
    "fidelity": "pacesetter_search.studies.fidelity:Fidelity",
    "gp": "pacesetter_search.studies.gp:GaussianProcessSearch",
    "grid": "pacesetter_search.studies.grid:Grid",
    "population": "pacesetter_search.studies.population:Population",
    "random": "pacesetter_search.studies.random_search:RandomSearch",
    "rungs": "pacesetter_search.studies.rungs:Rungs",
}

STUDY_STRATEGIES = tuple(sorted(_STRATEGIES))
"""The names of all strategies."""

DEFAULT_STUDY_STRATEGY = "random"
"""Of an experiment that names none: the one that needs nothing."""


class UnknownStudyStrategy(PacesetterError, LookupError):
    """No strategy of experiments has this name."""


def get_study_strategy(name: str) -> type[StudyStrategy]:
    """Return the strategy called ``name``.

    Raises:
        UnknownStudyStrategy: There is none; the message lists those there are.
    """
    if name not in _STRATEGIES:
        raise UnknownStudyStrategy(
            f"there is no strategy {name!r} of experiments; choose one of {', '.join(STUDY_STRATEGIES)}"
        )
    module, _, attribute = _STRATEGIES[name].partition(":")
    strategy: type[StudyStrategy] = getattr(import_module(module), attribute)
    return strategy


__all__ = [
    "DEFAULT_STUDY_STRATEGY",
    "STUDY_STRATEGIES",
    "CellOptimum",
    "Finished",
    "Names",
    "Place",
    "Progress",
    "StudyStrategy",
    "TransferStudy",
    "UnknownStudyStrategy",
    "document",
    "evidence",
    "get_study_strategy",
    "transfer_study",
]
