"""What the runs of a project teach."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pacesetter.protocol import Parametrization, Regime
from pacesetter.protocol.base import Message, Name
from pacesetter.protocol.workloads import Count, Family
from pacesetter_search.memory.taught import TaughtKind, Wanted
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.replies import Reply, json_reply, problems

router = APIRouter(tags=["recommendations"])

Reader = Annotated[Principal, Depends(Require("read", "register"), scope="function")]


class MemoryQuery(Message):
    """Which kinds of runs, and what the best peak and the weights are told of."""

    regime: Regime | None = None
    optimizer: Name | None = None
    parametrization: Parametrization | None = None
    family: Family | None = None
    parameters: Count | None = None
    """Of the reference; as the newest run has it where it is left out. So with tokens and batch."""
    tokens: Count | None = None
    batch_tokens: Count | None = None


class MemoryReply(Reply):
    """What the runs of a project teach."""

    project: str
    kinds: tuple[TaughtKind, ...]
    """Those of the most runs first; nothing crosses from one to another."""


@router.get("/v1/memory", response_model=MemoryReply, responses=problems())
async def get_memory(
    query: Annotated[MemoryQuery, Query()], principal: Reader, services: ServicesDependency
) -> Response:
    """Say what the project's runs teach: best peaks, slopes, and how much each run weighs."""
    kinds = await services.controller.memory.ask(Wanted(**dict(query)), principal.project)
    return json_reply(MemoryReply(project=principal.project, kinds=kinds))
