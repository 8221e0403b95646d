"""Find a learning rate on models a fourth as wide, over HTTP, and hold it against a sweep of the real one.

    python -m examples.transfer_study            # trials on Ray, some ten minutes on two cores
    python -m examples.transfer_study --quick    # smaller, in processes of this machine: a minute

It starts a service of its own, or uses PACESETTER_URL where there is one already, with a PACESETTER_TOKEN of scope
`admin`: it is a job and a worker at once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pacesetter
import torch
from pacesetter import mup
from pacesetter_workers.proxies.byte_lm import ByteLM, NextByte
from pacesetter_workers.proxies.text import load_text, windows
from torch import Tensor
from torch.nn import functional

from demo.service import serving

DEPTH, CONTEXT, SEED = 2, 64, 0
TIMES = 4
"""How much wider the real model is than its proxies, and how much longer it trains than the longest of them."""
WARMUP = 0.1
"""Of the steps: what the proxy does unless told."""
RATES, SWEEP = {"kind": "range", "low": 2.0**-9, "high": 2.0**-3}, 7
"""Which are searched, and how many of them the sweep takes: every octave."""


@dataclass(frozen=True)
class Sizes:
    """What is trained: the real model, its proxies being ``TIMES`` narrower and shorter."""

    narrow: int
    steps: int
    batch: int

    @property
    def width(self) -> int:
        """Width of the real model."""
        return TIMES * self.narrow

    @property
    def batch_tokens(self) -> int:
        """Tokens of an optimizer step, of the real model and of its proxies."""
        return self.batch * CONTEXT

    def fixed(self, **more: int) -> dict[str, Any]:
        """Return what all trials have in common: muP from the narrow model, one seed for weights and batches."""
        form = {"parametrization": "mup", "base_width": self.narrow, "base_depth": DEPTH}
        data = {"batch": self.batch, "context": CONTEXT, "seed": SEED}
        return {**form, "depth": DEPTH, **data, **more}


def weights(width: float) -> float:
    """Return the parameters of a model without its embeddings."""
    return 12.0 * DEPTH * width**2 + 256.0 * width


# 1. A service, and a worker beside it.


def service(folder: Path) -> AbstractContextManager[str]:
    """Return what yields the address of the service that is set, or of a new one on SQLite."""
    url = os.environ.get("PACESETTER_URL")
    return nullcontext(url.rstrip("/")) if url else serving(folder / "service")


@contextmanager
def working(url: str, folder: Path, executor: str, slots: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``pacesetter-worker`` with so many trials at a time, and end it."""
    command = [sys.executable, "-m", "pacesetter_workers.cli", "--url", url, "--executor", executor]
    command += ["--slots", str(slots), "--folder", str(folder / "checkpoints")]
    with (folder / "worker.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        if process.wait(timeout=60):
            print((folder / "worker.log").read_text()[-2000:], file=sys.stderr)


# 2. The proxies: an experiment that learns the peak of the real model from narrow and short ones.


def study(sizes: Sizes) -> dict[str, Any]:
    """Return an experiment on the narrow model at three horizons, the longest a fourth of the real one."""
    longest = sizes.steps // TIMES
    horizons = {"kind": "choice", "values": [longest // 4, longest // 2, longest]}
    target = {"width": sizes.width, "steps": sizes.steps}
    return {
        "name": f"proxies of width {sizes.width}",
        "proxy": "byte_lm",
        "space": {"lr": RATES, "steps": horizons},
        "fixed": sizes.fixed(width=sizes.narrow),
        "strategy": {"name": "fidelity", "parameters": {"target": target}},
        "max_trials": 40,
        # Whether the parametrization does what carrying a rate to the real width rests on.
        "coordinates": [sizes.narrow, 2 * sizes.narrow, sizes.width],
        # Trials become evidence for whoever asks later.
        "regime": "pretrain",
    }


def sweep(sizes: Sizes) -> dict[str, Any]:
    """Return what the study saves: the real model at every octave of the rate."""
    return {
        "name": f"sweep of width {sizes.width}",
        "proxy": "byte_lm",
        "space": {"lr": RATES},
        "fixed": sizes.fixed(width=sizes.width, steps=sizes.steps),
        "strategy": {"name": "grid", "parameters": {"points": SWEEP}},
        "max_trials": SWEEP,
    }


def run(api: httpx.Client, worker: subprocess.Popen[bytes], spec: dict[str, Any]) -> dict[str, Any]:
    """Register an experiment, wait until its trials have ended, and return where it stands."""
    experiment = ended(api, worker, said(api.post("/v1/experiments", json=spec))["id"])
    if experiment["status"] != "completed" or experiment["trials"]["failed"]:
        failed = said(api.get(f"/v1/experiments/{experiment['id']}/trials?status=failed"))["trials"]
        why = failed[0]["error"] if failed else experiment["reason"]
        raise SystemExit(f"{spec['name']} went wrong ({experiment['status']}): {why}")
    return experiment


def ended(api: httpx.Client, worker: subprocess.Popen[bytes], identity: str) -> dict[str, Any]:
    """Wait until the trials of an experiment have ended, and return where it stands."""
    while True:
        experiment = said(api.get(f"/v1/experiments/{identity}"))
        if experiment["status"] != "running":
            return experiment
        if worker.poll() is not None:
            raise SystemExit("the worker has ended before the experiment has")
        time.sleep(0.5)


def said(reply: httpx.Response) -> dict[str, Any]:
    """Return what the service answered; end with its own words where it refused."""
    if reply.is_error:
        raise SystemExit(f"{reply.request.method} {reply.request.url}: {reply.text}")
    answer: dict[str, Any] = reply.json()
    return answer


# 3. The recommendation: the best rates of the proxies are evidence for the real model.


def recommend(
    experiment: str, answer: dict[str, Any], sizes: Sizes, url: str
) -> pacesetter.Recommendation:
    """Ask what the real model is to run at, given the best rates that the study of an experiment found."""
    evidence = [
        pacesetter.Evidence(
            name=f"width {cell['width']:g}, {cell['steps']:g} steps",
            parameters=weights(cell["width"]),
            width_ratio=cell["width"] / sizes.narrow,
            tokens=cell["tokens"],
            batch_tokens=sizes.batch_tokens,
            lr=cell["lr"],
            sd_octaves=cell["sd_octaves"],
            experiment=experiment,  # whose trials are on record: they are not heard twice
        )
        for cell in answer["cells"]
        if cell["lr"] is not None
    ]
    target = pacesetter.Target(
        family="the transfer study",
        parameters=weights(sizes.width),
        width_ratio=float(TIMES),
        parametrization="mup",
        tokens=sizes.steps * sizes.batch_tokens,
        batch_tokens=sizes.batch_tokens,
        steps=sizes.steps,
        beta2=0.95,
        schedule_family="linear",
        warmup_steps=int(WARMUP * sizes.steps),
    )
    return pacesetter.recommend(target, evidence=evidence, url=url)


# 4. The real model, in muP from the narrow one, on what was recommended.


class Batches:
    """A batch is a function of its position: the one that a trial with this seed has there."""

    def __init__(self, batch: int) -> None:
        self.text, self.batch = load_text(None, ""), batch

    def batch_at(self, position: int) -> Tensor:
        return windows(self.text.train, self.batch, CONTEXT, (SEED, position))


def train(recommendation: pacesetter.Recommendation, sizes: Sizes, url: str, folder: Path) -> float:
    """Train it as a job, and return its loss on held-out text, in nats a byte."""

    def make(width: int) -> ByteLM:
        return ByteLM(width, DEPTH, CONTEXT, scaled_depth=DEPTH)

    torch.manual_seed(SEED)
    model = make(sizes.width)
    form = mup.Parametrization.by_shapes(make, sizes.width, base_width=sizes.narrow)
    form.apply_(model)
    optimizer = torch.optim.AdamW(form.groups(model, lr=1e-3), betas=(0.9, 0.95))
    batches = Batches(sizes.batch)
    task = NextByte(batches.text, sizes.width, DEPTH, sizes.batch, CONTEXT, SEED)
    job = pacesetter.attach(
        model,
        optimizer,
        name=f"byte LM of width {sizes.width}",
        budget=pacesetter.Steps(sizes.steps),
        recommendation=recommendation,
        strategy="fixed",
        validate=lambda: task.evaluate(model)["loss"],
        url=url,
        directory=folder,
    )
    for batch in job.batches(batches):
        logits = model(batch[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        torch.autograd.backward(loss)
        job.step(loss, tokens=sizes.batch_tokens)
    reached = job.finish().validation_loss
    assert reached is not None
    return reached


# 5. Was it worth it?


def compare(sizes: Sizes, executor: str, folder: Path) -> dict[str, Any]:
    """Run it all, say what happens, and return the figures."""
    started, token = time.perf_counter(), os.environ.get("PACESETTER_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with (
        service(folder) as url,
        httpx.Client(base_url=url, headers=headers, timeout=60.0) as api,
        working(url, folder, executor, slots=2) as worker,
    ):
        proxies = run(api, worker, study(sizes))
        check = ended(api, worker, proxies["coordinates"])
        target = {"width": sizes.width, "steps": sizes.steps}
        answer = said(api.get(f"/v1/experiments/{proxies['id']}/study", params=target))
        advice = recommend(proxies["id"], answer, sizes, url)
        tell(proxies, answer, advice)
        loss = train(advice, sizes, url, folder)
        print(f"the job ends at {loss:.4f} nats a byte, {time.perf_counter() - started:.0f} s on")
        swept = run(api, worker, sweep(sizes))
        trials = said(api.get(f"/v1/experiments/{swept['id']}/trials"))["trials"]
    tried = {trial["parameters"]["lr"]: trial["loss"] for trial in trials}
    best = swept["best"]["loss"]
    cost = {name: proxies["cost"][name] + check["cost"][name] for name in ("flops", "seconds")}
    return {
        "sizes": asdict(sizes),
        "executor": executor,
        "proxies": proxies["trials"]["done"],
        "recommended_lr": advice.lr,
        "recommended_lr_90": advice.lr_90,
        "coordinates": answer["coordinates"],
        "study_lr": answer["lr"],
        "study_lr_90": answer["lr_90"],
        "loss": loss,
        "sweep": dict(sorted(tried.items())),
        "above_best": loss / best - 1.0,
        "shares": {name: spent / swept["cost"][name] for name, spent in cost.items()},
        "seconds": time.perf_counter() - started,
    }


def tell(
    proxies: dict[str, Any], answer: dict[str, Any], advice: pacesetter.Recommendation
) -> None:
    """Say what the proxies found, and what is made of it."""
    print(f"{proxies['trials']['done']} proxies: {proxies['reason']}")
    for cell in answer["cells"]:
        if cell["lr"] is not None:
            known = f"{cell['lr']:.2e} +-{cell['sd_octaves']:.2f} octaves"
            print(f"  best rate of {cell['steps']:g} steps: {known}, by {cell['trials']} trials")
    check = answer["coordinates"]
    slopes = ", ".join(f"{name} {slope:+.2f}" for name, slope in check["slopes"].items())
    widths = ", ".join(map(str, check["widths"]))
    print(f"  coordinates over widths {widths}: {check['status']} ({slopes or check['problem']})")
    print(f"  by the study alone: {answer['lr']:.2e} +-{answer['sd_octaves']:.2f} octaves")
    assert advice.lr_90 is not None
    low, high = advice.lr_90
    for warning in answer["warnings"]:
        print(f"  warning: {warning}")
    print(f"recommended: {advice.lr:.2e}; the best one lies from {low:.2e} to {high:.2e} (90 %)")


def conclude(figures: dict[str, Any]) -> None:
    """Say what the sweep found, and what it cost beside the proxies."""
    for lr, loss in figures["sweep"].items():
        print(f"  {lr:.2e}: " + ("diverged" if loss is None else f"{loss:.4f}"))
    shares = figures["shares"]
    print(
        f"{figures['above_best']:+.2%} from the best of the sweep; proxies and check took {shares['flops']:.1%} of its "
        f"FLOPs and {shares['seconds']:.1%} of its seconds; {figures['seconds']:.0f} s in all"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="transfer_study")
    parser.add_argument("--quick", action="store_true", help="smaller, and without Ray")
    parser.add_argument("--executor", choices=("ray", "process"), help="where trials run")
    parser.add_argument("--narrow", type=int, help="width of the proxies, a multiple of 16")
    parser.add_argument("--steps", type=int, help="of the real model, 64 or more")
    parser.add_argument("--batch", type=int, help="windows of 64 bytes in a step")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    usual = Sizes(16, 160, 8) if given.quick else Sizes(32, 1200, 16)
    told = {name: size for name in asdict(usual) if (size := getattr(given, name)) is not None}
    torch.set_num_threads(1)  # as in a trial
    with tempfile.TemporaryDirectory() as folder:
        executor = given.executor or ("process" if given.quick else "ray")
        figures = compare(replace(usual, **told), executor, Path(folder))
    conclude(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
