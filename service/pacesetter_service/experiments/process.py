"""The process of slow strategies: ``python -m pacesetter_service.experiments.process PARENT STUDIES``.

It is nice: a worker's training goes before the choice of the next trial.
"""

import os
import sys
import traceback
from functools import partial

from pacesetter_service.experiments.messages import StudyAnswer, StudyRequest
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.processes.child import serve

NICENESS = 5


def answer(studies: Studies, request: StudyRequest) -> StudyAnswer:
    """Return what the strategy of a request asks for."""
    strategy = studies.build(request.strategy, request.parameters)
    return StudyAnswer(plans=request.question().ask(strategy))


def _answer(studies: Studies, body: bytes) -> bytes:
    try:
        return answer(studies, StudyRequest.model_validate_json(body)).model_dump_json().encode()
    except Exception as error:
        # A defect of a strategy is the strategy's, and not the process's.
        traceback.print_exc()
        failure = StudyAnswer(error=f"{type(error).__name__}: {error}")
        return failure.model_dump_json().encode()


if __name__ == "__main__":
    os.nice(NICENESS)
    serve(int(sys.argv[1]), partial(_answer, Studies(sys.argv[2])))
