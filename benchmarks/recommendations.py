"""How long a recommendation and a prediction take over HTTP, and what the fit of twenty curves costs other callers."""

import concurrent.futures
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pacesetter.schedules import WSD, Constant, Cosine, Linear, Schedule
from pacesetter_search.laws import FittedMultiPower

from benchmarks.reporting import Report, arguments
from demo.service import serving

ASKED = {"parameters": 124e6, "tokens": 2.5e9}
OPTIMUM = {"parameters": 6e7, "tokens": 1e9, "batch_tokens": 1e5, "lr": 3e-3}
STEPS, PEAK, CURVES = 24_000, 3e-4, 20
TRUE = FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64, exact=False)
BODIES = (Constant(), Cosine(), WSD(cooldown=0.2), Linear())


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    given = arguments(__doc__).parse_args(argv)
    report = Report("recommendations", seeds=[0], packages=("numpy", "scipy", "fastapi"))
    count = 50 if given.quick else 300
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as url,
        httpx.Client(base_url=url, timeout=120.0) as client,
    ):
        _ask(report, client, "no data", ASKED, count)
        _ask(report, client, "20 optima", {**ASKED, "evidence": [OPTIMUM] * 20}, count)
        _predict(report, client)
    report.print()
    report.save(given.json)


def _ask(
    report: Report, client: httpx.Client, words: str, body: dict[str, Any], count: int
) -> None:
    def ask() -> None:
        client.post("/v1/recommendations", json=body).raise_for_status()

    ask()
    times = [_seconds(ask) for _ in range(count)]
    median, late = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    report.row(f"recommendation, {words}: median", 1e3 * median, "ms")
    report.row(f"recommendation, {words}: p95", 1e3 * late, "ms", "< 300", late < 0.3)


def _predict(report: Report, client: httpx.Client) -> None:
    """Time the fit of twenty curves, and the health check of somebody else meanwhile."""
    body = {"curves": [_curve(place) for place in range(CURVES)], "candidates": _candidates()}
    quiet = [_seconds(lambda: client.get("/healthz")) for _ in range(100)]
    meanwhile: list[float] = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.perf_counter()
        answer = pool.submit(lambda: client.post("/v1/predictions", json=body))
        while not answer.done():
            meanwhile.append(_seconds(lambda: client.get("/healthz")))
        seconds = time.perf_counter() - began
    answer.result().raise_for_status()
    report.row(f"prediction from {CURVES} curves", seconds, "s", "< 10", seconds < 10.0)
    late, usual = (statistics.quantiles(times, n=20)[-1] for times in (meanwhile, quiet))
    report.row("p95 of a health check meanwhile", 1e3 * late, "ms")
    report.row("the same on a quiet service", 1e3 * usual, "ms")


def _curve(place: int) -> dict[str, Any]:
    body = BODIES[place % len(BODIES)]
    lrs = PEAK * Schedule(length=STEPS, body=body).over(np.arange(float(STEPS)))
    at = np.arange(500, STEPS + 1, 100)
    noise = np.random.default_rng(place).standard_normal(at.size)
    losses = TRUE.predict(lrs, at).mean * np.exp(1e-3 * noise)
    return {
        "name": f"curve {place}",
        "steps": at.tolist(),
        "lrs": lrs[at - 1].tolist(),
        "losses": losses.tolist(),
    }


def _candidates() -> dict[str, Any]:
    return {
        body.family: {
            "base_lr": PEAK,
            "schedule": Schedule(length=STEPS, body=body).model_dump(mode="json"),
        }
        for body in BODIES
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
