"""How long a decision takes: from a probe's end to the next segment, beside bare BoTorch on the same data.

The strategy's ``advance`` on ``SegmentEnded`` includes reading its state, the forecast, the fit, the acquisition on
its grid and writing the state. Bare BoTorch is ``SingleTaskGP`` with a Matern-5/2 kernel and ``train_Yvar``, its own
fit, and ``qLogNoisyExpectedImprovement`` evaluated on the same grid: what anyone would write first. Optuna's GPSampler
tells and asks once on as many trials. All in turn in one process, on one thread, idle and with both cores busy.

Over HTTP: from posting the report that ends a probe to holding the next segment, with the real service and its planning
process on SQLite, bare BoTorch on as many observations right behind each one; and what reports to another job take
meanwhile.
"""

import contextlib
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from pacesetter.limits import Limits
from pacesetter.protocol import (
    Budget,
    Capabilities,
    Measurements,
    ParameterGroup,
    SegmentEnded,
)
from pacesetter.schedules import Schedule, Warmup
from pacesetter_search.contract import Context, Event, JobFacts, State
from pacesetter_search.forecasting import Window
from pacesetter_search.strategies.autolrs import AutoLRS
from pacesetter_search.strategies.autolrs.memory import Memory, Sent, Tried
from pacesetter_search.surrogates import Response, TrainingSet, training_set

from benchmarks.reporting import Report, arguments
from benchmarks.suggest_over_http import WireJob, pinging
from demo.service import serving

SEED = 0
BAR = 1.3
TOTAL = 200_000
PROBE_ROWS = 800


def job() -> JobFacts:
    return JobFacts(
        budget=Budget(total=TOTAL),
        base=Schedule(length=TOTAL, warmup=Warmup(length=1000)),
        groups=(ParameterGroup(name="all", base_lr=0.1),),
        capabilities=Capabilities(rollback="memory", rewind_batches="unlimited"),
        limits=Limits(max_multiplier=100.0),
        authority="steer",
        overhead_cap=1.0,
        seed=SEED,
    )


def responses(count: int) -> list[Response]:
    """Return so many probes of a bowl that falls and drifts from stage to stage, ten a stage."""
    random = np.random.default_rng(SEED)
    found = []
    for index in range(count):
        stage, x = index // 10, float(random.uniform())
        loss = 3 * 0.9**stage + (x - 0.6 + 0.02 * stage) ** 2 + 0.02 * random.standard_normal()
        found.append(Response(stage, x, float(loss), 4e-4))
    return found


def state_before(strategy: AutoLRS, facts: JobFacts, count: int) -> tuple[State, int]:
    """Return the state in which probe number ``count`` runs, with its rows folded in, and its ``seq``."""
    memory = Memory.model_validate(strategy.initial(facts))
    known = responses(count)
    last = known[-1]
    memory.responses = known[:-1]
    memory.stage, memory.incumbent, memory.level = last.stage, 0.5, 2.0
    memory.tried = [Tried(stage=one.stage, x=one.x) for one in known if one.stage == last.stage]
    memory.tried = memory.tried[-9:]  # one probe is left, so that a candidate is asked for
    start = memory.stages[last.stage].start
    memory.live = [
        Sent(seq=count, kind="probe", stage=last.stage, x=last.x, start=start, length=PROBE_ROWS)
    ]
    memory.window = Window(PROBE_ROWS)
    return fold(strategy, facts, memory, count), count


def fold(strategy: AutoLRS, facts: JobFacts, memory: Memory, seq: int) -> State:
    start = memory.stages[memory.stage].start
    noise = np.random.default_rng(SEED).standard_normal(PROBE_ROWS)
    steps = [float(step) for step in range(1, PROBE_ROWS + 1)]
    rows = Measurements(
        number=1,
        segment=seq,
        position=start + PROBE_ROWS,
        columns={
            "position": [start + step for step in steps],
            "step": list(steps),
            "loss": [2 + np.exp(-s / 300) + 0.05 * n for s, n in zip(steps, noise, strict=True)],
        },
    )
    return strategy.advance(memory.document(), Event(1, rows), Context(facts, seq + 1)).state


def ours(count: int) -> Callable[[], object]:
    strategy, facts = AutoLRS.from_document({}), job()
    assert isinstance(strategy, AutoLRS)
    state, seq = state_before(strategy, facts, count)
    start = Memory.model_validate(state).stages[(count - 1) // 10].start
    ended = SegmentEnded(
        number=2,
        segment=seq,
        position=start + PROBE_ROWS,
        kind="probe",
        outcome="completed",
        steps=PROBE_ROWS,
        main_position=start,
    )

    def decide() -> object:
        answer = strategy.advance(state, Event(2, ended), Context(facts, seq + 1))
        assert [segment.kind for segment in answer.segments] == ["probe"]
        return answer

    return decide


def bare_botorch(count: int) -> Callable[[], object]:
    data = training_set(responses(count))
    stage = float(data.points[-1, 1])

    def decide() -> object:
        model = fitted(data)
        observed = torch.as_tensor(data.points[data.points[:, 1] == stage])
        acquisition = qLogNoisyExpectedImprovement(
            model,
            observed,
            sampler=SobolQMCNormalSampler(torch.Size([128]), seed=SEED),
            prune_baseline=False,
        )
        grid = torch.stack(
            [torch.linspace(0, 1, 201, dtype=torch.float64), torch.full((201,), stage).double()], -1
        )
        with torch.no_grad():
            return acquisition(grid.unsqueeze(-2)).argmax()

    return decide


def fitted(data: TrainingSet) -> SingleTaskGP:
    model = SingleTaskGP(
        torch.as_tensor(data.points),
        -torch.as_tensor(data.losses).unsqueeze(-1),
        torch.as_tensor(data.variances).unsqueeze(-1),
        covar_module=get_covar_module_with_dim_scaled_prior(ard_num_dims=2, use_rbf_kernel=False),
    )
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def optuna_sampler(count: int) -> Callable[[], object] | None:
    """Return one tell and ask of Optuna's GPSampler after ``count`` trials; None where it is not installed."""
    try:
        import optuna
    except ImportError:
        return None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "x": optuna.distributions.FloatDistribution(0.0, 1.0)
    }
    trials = [
        optuna.trial.create_trial(params={"x": one.x}, distributions=space, value=one.mean)
        for one in responses(count)
    ]

    def decide() -> object:
        sampler = optuna.samplers.GPSampler(seed=SEED, deterministic_objective=False)
        study = optuna.create_study(sampler=sampler)
        study.add_trials(trials)
        return study.ask(space).params

    return decide


def in_turn(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each contestant took, ``rounds`` times in alternation, after one round unmeasured."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, decide in contestants.items():
            began = time.perf_counter()
            decide()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def burn(stop: Any) -> None:
    while not stop.is_set():
        sum(range(10_000))


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many cores busy with other work."""
    spawning = multiprocessing.get_context("spawn")
    stop = spawning.Event()
    workers = [spawning.Process(target=burn, args=(stop,), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def measure(report: Report, load: str, count: int, rounds: int) -> None:
    contestants = {"autolrs": ours(count), "bare BoTorch": bare_botorch(count)}
    optuna_decides = optuna_sampler(count)
    if optuna_decides is not None:
        contestants["Optuna GPSampler"] = optuna_decides
    seconds = in_turn(contestants, rounds)
    place = f"{load}, {count} observations"
    for name, taken in seconds.items():
        milliseconds = 1e3 * np.array(taken)
        report.row(f"{name}, {place}, median", float(np.median(milliseconds)), "ms")
        report.row(f"{name}, {place}, p99", float(np.quantile(milliseconds, 0.99)), "ms")
    pairs = zip(seconds["autolrs"], seconds["bare BoTorch"], strict=True)
    ratio = statistics.median(mine / bare for mine, bare in pairs)
    report.row(f"autolrs / bare BoTorch, {place}", ratio, "ratio", f"<= {BAR}", ratio <= BAR)


def over_http(report: Report, load: str, url: str, jobs: int) -> None:
    """Measure the decisions of some jobs over HTTP, each followed by bare BoTorch on as many observations."""
    found: dict[int, list[tuple[float, float]]] = {10: [], 100: []}
    with httpx.Client(base_url=url, timeout=60.0) as api:
        for index in range(jobs):
            wire = WireJob(api, f"latency-{load}-{index}")
            for around, pairs in found.items():
                for count in range(around - 4, around + 5):
                    wire.advance_to(count)
                    decide = bare_botorch(count)
                    began = time.perf_counter()
                    decide()
                    pairs.append((wire.latencies[-1], time.perf_counter() - began))
    for around, pairs in found.items():
        place = f"over HTTP, {load}, {around} observations"
        report.row(f"autolrs {place}, median", 1e3 * statistics.median(a for a, _ in pairs), "ms")
        ratio = statistics.median(a / b for a, b in pairs)
        report.row(f"autolrs / bare BoTorch, {place}", ratio, "ratio", f"<= {BAR}", ratio <= BAR)


def api_meanwhile(report: Report, url: str, rounds: int) -> None:
    """Compare reports to another job while decisions are made with the same while none are, in turn."""
    taken: dict[str, list[float]] = {"idle": [], "planning": []}
    with httpx.Client(base_url=url, timeout=60.0) as api:
        wire = WireJob(api, "latency-pinged")
        for turn in range(1, rounds + 1):
            began = time.perf_counter()
            with pinging(url, f"ping-planning-{turn}", taken["planning"]):
                wire.advance_to(20 * turn)
            seconds = time.perf_counter() - began
            with pinging(url, f"ping-idle-{turn}", taken["idle"]):
                time.sleep(seconds)
    quiet, disturbed = (1e3 * float(np.quantile(taken[key], 0.99)) for key in ("idle", "planning"))
    report.row("a report, p99, nothing planned", quiet, "ms")
    report.row("a report, p99, decisions one after another", disturbed, "ms")
    ratio = disturbed / quiet
    report.row("planning / nothing planned, p99 of a report", ratio, "ratio", "<= 2", ratio <= 2)


def main() -> None:
    parser = arguments(__doc__)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    report = Report(
        "suggest_latency",
        seeds=[SEED],
        packages=("botorch", "gpytorch", "torch", "optuna", "numpy"),
    )
    rounds = 7 if options.quick else 40
    for count in (10, 100):
        measure(report, "idle", count, rounds)
    with busy(2):
        for count in (10, 100):
            measure(report, "both cores busy", count, rounds)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as url:
        jobs = 2 if options.quick else 6
        over_http(report, "idle", url, jobs)
        with busy(2):
            over_http(report, "both cores busy", url, jobs)
        api_meanwhile(report, url, 5 if options.quick else 20)
    report.print()
    report.save(options.json)


if __name__ == "__main__":
    main()
