"""The planning process: answers requests to plan.

Started as ``python -m pacesetter_service.planning.process PARENT REGISTRY WARM...``. Its imports begin at once, beside
the first decisions, which need none of them.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from functools import partial

from pacesetter_service.planning.messages import PlanAnswer, PlanRequest
from pacesetter_service.planning.reduce import reduce
from pacesetter_service.planning.registry import Registry
from pacesetter_service.processes.child import serve


def warm_up(modules: Sequence[str]) -> None:
    """Import what the first decision would otherwise wait for."""
    for module in modules:
        importlib.import_module(module)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _answer(registry: Registry, warming: threading.Thread, body: bytes) -> bytes:
    try:
        request = PlanRequest.model_validate_json(body)
        if any(event.body.type != "registered" for event in request.events):
            # A first decision has nothing to fit and goes ahead: a job waits for it in its first steps.
            warming.join()
        answer = reduce(registry, request)
        return answer.model_dump_json(by_alias=True).encode()
    except Exception as error:
        # An answer that cannot be written counts as the strategy's failure, not the process's.
        failure = PlanAnswer(error=f"{type(error).__name__}: {error}")
        return failure.model_dump_json().encode()


def main(parent: int, module: str, warm: Sequence[str]) -> None:
    """Serve until the parent is gone."""
    registry = Registry(module)
    warming = threading.Thread(target=warm_up, args=(warm,), name="warm-up", daemon=True)
    warming.start()
    serve(parent, partial(_answer, registry, warming))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
