"""What four public curves do to an answer; how long answers and uploads take over HTTP, and what a fit costs others."""

import concurrent.futures
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pacesetter.curves import Points, averaged
from pacesetter.schedules import WSD, Constant, Cosine, Linear, Schedule
from pacesetter_search.laws import FittedMultiPower

from benchmarks.reporting import Report, arguments
from benchmarks.with_evidence import STORED, before_and_after, with_many
from demo.service import serving

ASKED = {"parameters": 124e6, "tokens": 2.5e9}
OPTIMUM = {"parameters": 6e7, "tokens": 1e9, "batch_tokens": 1e5, "lr": 3e-3}
STEPS, PEAK, CURVES = 24_000, 3e-4, 20
PAUSE_SECONDS = 0.01
"""Between health checks, which are not to be the load that they measure."""

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
        law = _background_fit(report, client)
        _ask_law(report, client, law, count)
        _upload_long(report, client)
    before_and_after(report, count)
    with_many(report, count, STORED[-2] if given.quick else STORED[-1])
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


def _background_fit(report: Report, client: httpx.Client) -> str:
    """Upload twenty curves and wait for their law, while somebody else checks the service's health; return the law."""
    abouts = {"family": "benchmark", "parameters": 1e8, "batch_tokens": 5e5}
    bodies = [{**_curve(place), **abouts} for place in range(CURVES)]
    times = [_seconds(partial(_upload, client, body)) for body in bodies]
    report.row("upload of a curve of 236 points: median", 1e3 * statistics.median(times), "ms")
    meanwhile: list[float] = []
    began = time.perf_counter()
    while True:
        meanwhile.append(_seconds(lambda: client.get("/healthz")))
        time.sleep(PAUSE_SECONDS)
        if len(meanwhile) % 20:
            continue
        (law,) = client.get("/v1/laws").json()["laws"] or [{"evidence": []}]
        if len(law["evidence"]) == CURVES:
            break
    waited = time.perf_counter() - began
    seconds = law["seconds"]
    report.row(f"background fit of {CURVES} curves", seconds, "s", "< 10", seconds < 10.0)
    report.row("from the last upload to the law", waited, "s")
    late = statistics.quantiles(meanwhile, n=20)[-1]
    report.row("p95 of a health check during the background fit", 1e3 * late, "ms")
    return str(law["id"])


def _ask_law(report: Report, client: httpx.Client, law: str, count: int) -> None:
    body = {"law": law, "candidates": _candidates()}

    def ask() -> None:
        client.post("/v1/predictions", json=body).raise_for_status()

    ask()
    times = [_seconds(ask) for _ in range(count)]
    median, late = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    report.row(f"prediction of {len(BODIES)} schedules by a stored law: median", 1e3 * median, "ms")
    report.row("prediction by a stored law: p95", 1e3 * late, "ms")


def _upload_long(report: Report, client: httpx.Client) -> None:
    """Time what the client does with ten million points, and what it then sends."""
    count = 10_000_000
    steps = np.arange(1.0, count + 1.0)
    lrs = PEAK * np.minimum(1.0, (count + 1.0 - steps) / (0.2 * count))
    noise = 0.01 * np.random.default_rng(0).standard_normal(count)
    points = Points.of(steps, lrs, 2.0 + steps**-0.2 + noise)
    began = time.perf_counter()
    short = averaged(points)
    report.row("ten million points averaged in the client", time.perf_counter() - began, "s")
    body = {
        "name": "long",
        "steps": short.steps.tolist(),
        "lrs": short.lrs.tolist(),
        "losses": [None if np.isnan(loss) else loss for loss in short.losses.tolist()],
    }
    report.row("their upload", 1e3 * _seconds(partial(_upload, client, body)), "ms")


def _upload(client: httpx.Client, body: dict[str, Any]) -> None:
    client.post("/v1/curves", json=body).raise_for_status()


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
