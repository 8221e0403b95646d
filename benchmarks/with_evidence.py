"""What a project's own curves do to an answer, on public ones; and what an answer takes with many of them."""

import itertools
import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pacesetter.schedules import WSD, Constant, Cosine, Linear, Schedule
from pacesetter_search.laws import FittedMultiPower
from pacesetter_search.memory.groups import MOST_CURVES

from benchmarks.public_curves import FOLDER, PARAMETERS_124M, find_124m, runs_124m, upload_124m
from benchmarks.reporting import Report
from demo.service import serving

TOKENS = 2.5e9
FAMILY = "slimpajama"
LENGTH = 50_000
"""Steps of the public runs that are uploaded, of 51,200 tokens: 2.56e9 in all."""

Four = tuple[tuple[str, float], ...]

FOURS: Mapping[str, Four] = {
    "4 curves, 3 peaks": (
        ("cos_to_0", 1e-4),
        ("cos_to_0", 5e-4),
        ("cos_to_0", 1e-3),
        ("const", 1e-3),
    ),
    "4 curves, 3 shapes at 3 peaks": (
        ("const", 1e-4),
        ("cos_to_0", 5e-4),
        ("cos_to_0", 1e-3),
        ("wsd_linear_0.2", 1e-3),
    ),
    "4 curves, each of another shape, 3 peaks": (
        ("const", 1e-4),
        ("cos_to_10", 1e-4),
        ("cos_to_0", 5e-4),
        ("wsd_linear_0.2", 1e-3),
    ),
    "4 curves, one peak": tuple(
        (schedule, 1e-3) for schedule in ("const", "cos_to_0", "wsd_linear_0.2", "wsd_linear_0.4")
    ),
}
"""Schedules and peaks of the runs that are uploaded."""

STORED = (4, 40, 1000)
BATCH, SHORTEST = 51_200.0, 1000
PEAKS = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
BODIES = (Cosine(), Linear(), WSD(cooldown=0.2), Constant())
TRUE = FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64, exact=False)
CHANGES = 20
LAWS_SECONDS = 600.0


def before_and_after(report: Report, count: int) -> None:
    """Ask an empty project, give it four public curves of 124M parameters, and ask again.

    Args:
        report: Takes the rows.
        count: Questions whose times are taken.
    """
    if not FOLDER.is_dir():
        print(
            f"the public curves are not at {FOLDER}: what four of them do to an answer is left out"
        )
        return
    for place, (name, four) in enumerate(FOURS.items()):
        with _project() as client:
            before = _answer(client, {"family": FAMILY})
            if place == 0:
                _rows(report, "empty database", before)
            sent = [_sent(client, schedule, lr, FAMILY) for schedule, lr in four]
            wait_for_laws(client, sent)
            after = _answer(client, {"family": FAMILY})
            _rows(report, name, after, before, narrows=name != "4 curves, one peak")
            _named(report, after, [one["id"] for one in sent])
            if place == 0:
                _asked_otherwise(report, client, before)
                _times(report, "4 public curves and their laws", client, {"family": FAMILY}, count)


def with_many(report: Report, count: int, most: int) -> None:
    """Time answers with so many stored curves and their laws, and the first ones after changes of these."""
    for curves in STORED:
        if curves > most:
            continue
        with _project() as client:
            wait_for_laws(client, [_post(client, one) for one in itertools.islice(_runs(), curves)])
            asked = {"batch_tokens": BATCH, "family": "many", "tokens": 3 * SHORTEST * BATCH}
            _times(report, f"{curves} stored curves and their laws", client, asked, count)
            late = _p95(_after_changes(client, asked))
            bar, met = ("< 300", late < 300.0) if curves <= 40 else (None, None)
            report.row("  p95 of the first after a change", late, "ms", bar, met)


def wait_for_laws(client: httpx.Client, sent: Sequence[Mapping[str, Any]]) -> None:
    """Return once each of the curves that were sent is in a law, or is one too many for its law."""
    keys = Counter(one["key"] for one in sent)
    ends = time.monotonic() + LAWS_SECONDS
    while time.monotonic() < ends:
        laws = client.get("/v1/laws", params={"page_size": 200}).json()["laws"]
        fitted = {law["key"]: len(law["evidence"]) for law in laws}
        if all(fitted.get(key, 0) >= min(count, MOST_CURVES) for key, count in keys.items()):
            return
        time.sleep(0.2)
    raise SystemExit(f"the laws of {len(sent)} curves did not come within {LAWS_SECONDS:g} s")


@contextmanager
def _project() -> Iterator[httpx.Client]:
    """Yield a client of a service whose database is empty."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as url,
        httpx.Client(base_url=url, timeout=120.0) as client,
    ):
        yield client


def _sent(client: httpx.Client, schedule: str, lr: float, family: str) -> dict[str, Any]:
    return _post(client, upload_124m(find_124m(schedule, lr, LENGTH), family))


def _post(client: httpx.Client, body: Mapping[str, Any]) -> dict[str, Any]:
    reply = client.post("/v1/curves", json=body)
    reply.raise_for_status()
    stored: dict[str, Any] = reply.json()
    return stored


def _answer(client: httpx.Client, changes: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"parameters": PARAMETERS_124M, "tokens": TOKENS, **changes}
    reply = client.get("/v1/recommendations", params=asked)
    reply.raise_for_status()
    found: dict[str, Any] = reply.json()
    return found


def _rows(
    report: Report,
    name: str,
    found: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
    *,
    narrows: bool = True,
) -> None:
    report.row(f"{name}: rate to run", found["lr"], "")
    low, high = found["lr_90"]
    report.row("  90 % interval of the best peak", f"{low:.3g} to {high:.3g}", "")
    _narrower(report, "  its width", "octaves", peak_width, found, before if narrows else None)
    low, high = found["loss"]["interval_90"]
    report.row("  90 % interval of the expected loss", f"{low:.3g} to {high:.3g}", "nats")
    _narrower(report, "  its width", "%", loss_width, found, before)
    best = min(one.final for one in runs_124m() if one.steps == LENGTH)
    report.row("  best run of that length", best, "nats", "inside", low < best < high)


def _narrower(
    report: Report,
    name: str,
    unit: str,
    width: Callable[[Mapping[str, Any]], float],
    found: Mapping[str, Any],
    before: Mapping[str, Any] | None,
) -> None:
    own = width(found)
    if before is None:
        report.row(name, own, unit)
    else:
        report.row(name, own, unit, f"< {width(before):.3g}", own < width(before))


def peak_width(found: Mapping[str, Any]) -> float:
    """Return how wide the 90 % interval of the best peak is, in octaves."""
    low, high = found["lr_90"]
    return math.log2(high / low)


def loss_width(found: Mapping[str, Any]) -> float:
    """Return how wide the 90 % interval of the expected loss is, in per cent."""
    low, high = found["loss"]["interval_90"]
    return 100.0 * math.log(high / low)


def _named(report: Report, found: Mapping[str, Any], ids: Sequence[str]) -> None:
    named = len({one["id"] for one in found["evidence"]} & set(ids))
    report.row("  curves named in the evidence", named, f"of {len(ids)}", "all", named == len(ids))


def _asked_otherwise(report: Report, client: httpx.Client, before: Mapping[str, Any]) -> None:
    """Ask at the batch of the runs, and without saying whose family it is."""
    lr = _answer(client, {"family": FAMILY, "batch_tokens": BATCH})["lr"]
    near = 2.0**-0.5 * 1e-3 < lr < 2.0**1.5 * 1e-3
    report.row("  rate at the batch of the runs", lr, "", ".7e-3 to 2.8e-3", near)
    bare = _answer(client, {})
    _narrower(report, "  asked without a family: width", "octaves", peak_width, bare, before)
    said = any("count as another family's" in one for one in bare["warnings"])
    report.row("  and it says that another family stands in", str(said), "", "True", said)


def _times(
    report: Report, name: str, client: httpx.Client, asked: Mapping[str, Any], count: int
) -> None:
    _answer(client, asked)
    times = [_milliseconds(lambda: _answer(client, asked)) for _ in range(count)]
    report.row(f"recommendation, {name}: median", statistics.median(times), "ms")
    late = _p95(times)
    report.row("  p95", late, "ms", "< 300", late < 300.0)


def _after_changes(client: httpx.Client, asked: Mapping[str, Any]) -> list[float]:
    """Leave a curve out and take it in again, and return what the next answer takes each time."""
    curve = client.get("/v1/curves", params={"page_size": 1}).json()["curves"][0]["id"]
    times = []
    for place in range(CHANGES):
        body = {"excluded": place % 2 == 0}
        client.patch(f"/v1/curves/{curve}", json=body).raise_for_status()
        times.append(_milliseconds(lambda: _answer(client, asked)))
    return times


def _runs() -> Iterator[dict[str, Any]]:
    """Yield made-up runs, at first of two shapes and peaks, then of more of them and of more lengths."""
    cells = itertools.product(range(1, 51), PEAKS, BODIES)
    first = itertools.product((3,), PEAKS[1:3], BODIES[:2])
    for place, (length, peak, body) in enumerate(itertools.chain(first, cells)):
        steps = SHORTEST * length // 3 if length > 3 else SHORTEST * length
        lrs = peak * Schedule(length=steps, body=body).over(np.arange(float(steps)))
        at = np.arange(50, steps + 1, 10)
        missed = 1.0 + 0.0063 * math.log2(peak / 1e-3) ** 2
        noise = np.random.default_rng(place).standard_normal(at.size)
        stretched = TRUE.predict(3e-4 / peak * lrs, at).mean
        yield {
            "name": f"run {place}",
            "family": "many",
            "parameters": PARAMETERS_124M,
            "batch_tokens": BATCH,
            "regime": "pretrain",
            "optimizer": "adamw",
            "validated": True,
            "steps": at.tolist(),
            "lrs": lrs[at - 1].tolist(),
            "losses": (missed * stretched * np.exp(1e-3 * noise)).tolist(),
        }


def _p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)
