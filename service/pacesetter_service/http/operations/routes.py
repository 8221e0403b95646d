"""Health, metrics and the front page."""

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter, Depends
from pacesetter.schedules import FAMILIES, Tier
from pacesetter_search.contract import Strategy
from pacesetter_search.studies import StudyStrategy
from pydantic import JsonValue
from starlette.responses import HTMLResponse, Response

from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.metrics import MEDIA_TYPE
from pacesetter_service.http.replies import Reply, json_reply, problems

router = APIRouter(tags=["operations"])

VERSION = version("pacesetter-server")

_FRONT_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Pacesetter</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }}</style>
<h1>Pacesetter {VERSION}</h1>
<p>This service finds learning-rate schedules and sets the pace of running training jobs.</p>
<ul>
<li><a href="/v1/jobs">/v1/jobs</a>: the jobs; under each <code>/events</code> (why it decided what),
<code>/curve</code>, <code>/schedule</code>, <code>/ledger</code></li>
<li><a href="/v1/experiments">/v1/experiments</a>: searches over proxy runs; under each <code>/trials</code>,
<code>/study</code></li>
<li><a href="/v1/strategies">/v1/strategies</a>, <a href="/v1/families">/v1/families</a>: what may be chosen, and how
well proven it is</li>
<li><a href="/v1/recommendations?parameters=124e6&amp;tokens=2.5e9">/v1/recommendations</a>: what to run at a size and
a token budget</li>
<li><a href="/openapi.json">/openapi.json</a>: the whole API</li>
<li><a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>, <a href="/metrics">/metrics</a>: operations</li>
</ul>
</html>
"""


class Health(Reply):
    """That the service answers, and which release it is."""

    status: Literal["ok"] = "ok"
    version: str = VERSION


class FamilyReply(Reply):
    """A schedule family: its name in documents, how well proven it is, and its shape in a line."""

    name: str
    tier: Tier
    summary: str


class FamilyList(Reply):
    """Every family that this release knows."""

    families: tuple[FamilyReply, ...]


_FAMILIES = FamilyList(
    families=tuple(
        FamilyReply(name=name, tier=family.tier, summary=(family.__doc__ or "").splitlines()[0])
        for name, family in FAMILIES.items()
    )
)


class StrategyReply(Reply):
    """A strategy: its name, how well proven it is, what it does and needs, and the parameters it takes."""

    name: str
    tier: Tier
    summary: str
    needs: str
    default_cap: float
    """Probe steps over the budget that it may take where the job says nothing."""
    handles_budget: bool
    """Whether it plans anew where the budget changes; for others what runs is extended, and the job is overridden."""
    parameters: dict[str, JsonValue]
    """A JSON schema."""


class StudyStrategyReply(Reply):
    """A strategy of experiments: its name, how well proven it is, what it does and needs, its parameters."""

    name: str
    tier: Tier
    summary: str
    needs: str
    parameters: dict[str, JsonValue]
    """A JSON schema."""


class StrategyList(Reply):
    """Every strategy that this release knows."""

    strategies: tuple[StrategyReply, ...]
    """Of jobs."""
    experiments: tuple[StudyStrategyReply, ...]
    """Of experiments."""


def _described(strategy: type[Strategy]) -> StrategyReply:
    return StrategyReply(
        name=strategy.name,
        tier=strategy.tier,
        summary=strategy.about(),
        needs=strategy.needs,
        default_cap=strategy.default_cap,
        handles_budget=strategy.handles_budget,
        parameters=strategy.parameters_schema(),
    )


def _described_study(strategy: type[StudyStrategy]) -> StudyStrategyReply:
    return StudyStrategyReply(
        name=strategy.name,
        tier=strategy.tier,
        summary=strategy.about(),
        needs=strategy.needs,
        parameters=strategy.parameters_schema(),
    )


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Answer while the process lives."""
    return json_reply(Health())


@router.get("/readyz", response_model=Health, responses=problems())
async def readyz(services: ServicesDependency) -> Response:
    """Answer 200 while the database does."""
    await services.controller.check()
    return json_reply(Health())


@router.get(
    "/v1/families",
    response_model=FamilyList,
    dependencies=[Depends(Require("read"), scope="function")],
    responses=problems(),
)
async def list_families() -> Response:
    """List the schedule families with their tiers."""
    return json_reply(_FAMILIES)


@router.get(
    "/v1/strategies",
    response_model=StrategyList,
    dependencies=[Depends(Require("read"), scope="function")],
    responses=problems(),
)
async def list_strategies(services: ServicesDependency) -> Response:
    """List the strategies of jobs and of experiments with their tiers, needs and parameters."""
    controller = services.controller
    return json_reply(
        StrategyList(
            strategies=tuple(map(_described, controller.strategies())),
            experiments=tuple(map(_described_study, controller.experiments.strategies())),
        )
    )


@router.get(
    "/metrics",
    dependencies=[Depends(Require("read"), scope="function")],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems()},
)
async def metrics(services: ServicesDependency) -> Response:
    """Return counters in the Prometheus text format."""
    # The constructor would append a second charset to this media type.
    return Response(services.metrics.render(), headers={"Content-Type": MEDIA_TYPE})


@router.get("/", include_in_schema=False)
async def front_page() -> HTMLResponse:
    """Say what this is and where to look."""
    return HTMLResponse(_FRONT_PAGE)
