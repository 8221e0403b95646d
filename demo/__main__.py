"""``make demo``: the service on SQLite, a real model, and the same poor learning rate steered and unsteered."""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from demo import report
from demo.service import serving
from demo.text import load_corpus
from demo.training import POOR_LR, TUNED_LR, Outcome, train_steered, train_unsteered

HERE = Path(__file__).parent


class Display:
    """One progress line a run: where it is, its loss, its learning rate, and what it is doing."""

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self.progress = progress
        self.task: TaskID = progress.add_task(name, total=total, loss="", lr="", doing="")

    def __call__(
        self, position: int, loss: float, learning_rate: float, on_main_line: bool
    ) -> None:
        doing = "main line" if on_main_line else "probe"
        if on_main_line:
            self.progress.update(self.task, completed=position)
        self.progress.update(
            self.task, loss=f"loss {loss:.3f}", lr=f"lr {learning_rate:.1e}", doing=doing
        )


def columns() -> tuple[TextColumn | BarColumn | TimeElapsedColumn, ...]:
    """Return what a progress line shows."""
    fields = ("{task.completed:>5}/{task.total}", "{task.fields[loss]}", "{task.fields[lr]}")
    texts = (*fields, "{task.fields[doing]}")
    return (
        TextColumn("{task.description:<26}"),
        BarColumn(bar_width=24),
        *(TextColumn(text) for text in texts),
        TimeElapsedColumn(),
    )


def run_all(console: Console, url: str, steps: int, external_id: str) -> list[Outcome]:
    """Train steered, then unsteered: for the same main-line steps, for the same total steps, and well tuned."""
    corpus = load_corpus()
    with Progress(*columns(), console=console, refresh_per_second=4) as progress:
        display = Display(progress, "steered", steps)
        steered = train_steered(corpus, steps, url, external_id, display)
        plans = (
            ("same main steps", steps, POOR_LR),
            ("same total steps", steered.total_steps, POOR_LR),
            (f"LR tuned by hand ({TUNED_LR:g})", steps, TUNED_LR),
        )
        unsteered = [
            train_unsteered(corpus, length, peak, name, Display(progress, name, length))
            for name, length, peak in plans
        ]
    return [steered, *unsteered]


def read_back(url: str, external_id: str) -> tuple[str, list[report.Stretch], list[str]]:
    """Return from the API what the service recorded: the job, its measurements by segment, its decisions."""
    with httpx.Client(base_url=url, timeout=30.0) as api:
        jobs = api.get("/v1/jobs", params={"page_size": 100}).raise_for_status().json()["jobs"]
        job = next(job["id"] for job in jobs if job["external_id"] == external_id)
        curve = api.get(f"/v1/jobs/{job}/curve", params={"max_points": 20_000}).raise_for_status()
        decisions = [event for event in all_events(api, job) if event["type"] == "decision"]
    texts = [str(event["body"].get("text", "")) for event in decisions]
    return job, split_by_segment(curve.json()), texts


def all_events(api: httpx.Client, job: str) -> Iterator[dict[str, Any]]:
    """Yield the audit trail of ``job``, oldest first."""
    token = ""
    while True:
        page = (
            api.get(f"/v1/jobs/{job}/events?page_size=200&page_token={token}")
            .raise_for_status()
            .json()
        )
        yield from page["events"]
        token = page["next_page_token"]
        if not token:
            return


def split_by_segment(curve: dict[str, Any]) -> list[report.Stretch]:
    """Cut the curve where the kind of segment changes or the position jumps back to where a probe left."""
    stretches: list[report.Stretch] = []
    columns = curve["columns"]
    rows = zip(curve["kinds"], columns["position"], columns["loss"], columns["lr"], strict=True)
    for kind, position, loss, learning_rate in rows:
        last = stretches[-1] if stretches else None
        if last is None or last.kind != kind or position <= last.positions[-1]:
            last = report.Stretch(kind, [], [], [])
            stretches.append(last)
        last.positions.append(int(position))
        last.losses.append(math.nan if loss is None else float(loss))
        last.learning_rates.append(float(learning_rate))
    return stretches


def main() -> None:
    """Run the demo and write ``demo/result.json`` and the picture beside it."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--steps", type=int, default=1200, help="length of the main line")
    parser.add_argument("--output", type=Path, default=HERE / "output")
    arguments = parser.parse_args()
    torch.set_num_threads(
        1
    )  # a model this small gains nothing from a second, and the service has a core to itself
    console, started = Console(), time.perf_counter()
    external_id = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    console.print(
        f"A byte-level transformer on Python's own library, started at LR {POOR_LR:g}: far too low."
    )
    with serving(arguments.output / "service") as url:
        outcomes = run_all(console, url, arguments.steps, external_id)
        job, stretches, decisions = read_back(url, external_id)
    picture, figures = arguments.output / "result.png", HERE / "result.json"
    report.save_picture(picture, stretches, outcomes[1:])
    verdict = report.verdict(*outcomes)
    seconds = time.perf_counter() - started
    report.save_json(figures, outcomes, {"verdict": verdict, "job": job, "seconds": seconds})
    report.print_table(console, outcomes)
    console.print(verdict)
    for decision in decisions[-6:]:
        console.print(f"  [dim]{decision}[/dim]")
    console.print(f"{seconds:.0f} s. Picture: {picture}  Figures: {figures}")
    console.print(
        f"To look around: pacesetter-server serve --data-dir {arguments.output / 'service'}\n"
        f"  http://127.0.0.1:8642/v1/jobs/{job}  .../events  .../curve  .../ledger  .../schedule"
    )


if __name__ == "__main__":
    main()
