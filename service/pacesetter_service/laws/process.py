"""The fitting process: fits laws to curves. Started as ``python -m pacesetter_service.laws.process PARENT``.

It is nice: what it has to do can wait for whoever reports.
"""

import os
import sys
import traceback
from time import perf_counter

from pacesetter_search.laws.stored import NamedCurve, fit_stored

from pacesetter_service.curves.packing import unpacked
from pacesetter_service.laws.messages import FitAnswer, FitRequest
from pacesetter_service.processes.child import serve

NICENESS = 10


def fit(request: FitRequest) -> FitAnswer:
    """Return the law of the request's curves, or why there is none."""
    began = perf_counter()
    try:
        curves = [NamedCurve(each.name, unpacked(each.data)) for each in request.curves]
        law, fitted = fit_stored(curves)
    except ValueError as error:  # LawNotFitted among them
        return FitAnswer(problem=str(error), seconds=perf_counter() - began)
    return FitAnswer(law=law.model_dump_json(), fitted=fitted, seconds=perf_counter() - began)


def _answer(body: bytes) -> bytes:
    try:
        answer = fit(FitRequest.model_validate_json(body))
        return answer.model_dump_json().encode()
    except Exception as error:
        # A defect of a law is the law's, and not the process's.
        traceback.print_exc()
        failure = FitAnswer(problem=f"{type(error).__name__}: {error}")
        return failure.model_dump_json().encode()


if __name__ == "__main__":
    os.nice(NICENESS)
    serve(int(sys.argv[1]), _answer)
