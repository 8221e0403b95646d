"""The benchmark of fidelities at tiny sizes, its judge by hand, and its file of results."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pacesetter.protocol import Cost, Value
from pacesetter_search.studies import Finished

from benchmarks.fidelity import batches, studies, trials, widths
from benchmarks.fidelity.judge import Judgement, Target
from benchmarks.fidelity.trials import CONTEXT, Result, Trials, key_of
from benchmarks.reporting import Report

TINY = widths.Sizes(width=48, steps=64, batch=1, widths=(16, 48), narrow=(16, 32), share=1.0)
CELLS = batches.Sizes(tokens=16 * 4 * CONTEXT, batches=(1, 2, 4), held_back=8, wide=64, seeds=(0,))


@pytest.fixture(scope="module")
def pool() -> Iterator[Trials]:
    with Trials() as opened:
        yield opened


class Bowl(Trials):
    """Losses of a parabola about a rate, without training; one seed may diverge."""

    def __init__(self, bottom: float, diverges: int | None = None) -> None:
        self.bottom, self.diverges = bottom, diverges
        self.tried: list[tuple[float, Value]] = []

    def start(self, parameters: Mapping[str, Value]) -> None:
        pass

    def result(self, parameters: Mapping[str, Value]) -> Result:
        rate, seed = math.log2(float(parameters["lr"])), parameters["seed"]
        self.tried.append((rate, seed))
        loss = math.exp(0.7 + 0.02 * (rate - self.bottom) ** 2)
        return Result(None if seed == self.diverges else loss, Cost())


def test_the_bottom_of_the_parabola_is_found_by_hand() -> None:
    # y = 2 - .05 x + .15 x^2 in half octaves about -5: bottom at x = 1/6. What lies further away is not looked at.
    losses = {-6.0: 9.0, -5.5: 2.2, -5.0: 2.0, -4.5: 2.1, -4.0: 9.0}
    found = Judgement(losses, -5.2, 0.1)
    assert found.parabola == pytest.approx(-5.0 + 0.5 / 6.0)
    assert found.best == 2.0
    assert found.above_best(2.02) == pytest.approx(1.0)
    assert math.isnan(Judgement({-5.0: 2.0, -4.5: 2.1}, -5.0, 0.1).parabola)


def test_an_answer_is_held_against_whichever_optimum_it_is_further_from() -> None:
    found = Judgement({-5.5: 2.1, -5.0: 2.0, -4.5: 2.1}, -5.2, 0.1)
    assert found.off(-5.5) == pytest.approx(0.5)
    assert found.off(-4.5) == pytest.approx(0.7)
    assert found.within((2.0**-5.3, 2.0**-4.9))
    assert not found.within((2.0**-5.3, 2.0**-5.1))
    assert not found.within((2.0**-5.1, 2.0**-4.9))


@pytest.mark.parametrize(("bottom", "lowest", "highest"), [(-5.2, -7.5, -3.5), (-7.4, -8.5, -3.5)])
def test_a_sweep_has_nine_rates_and_two_on_either_side_of_the_best(
    bottom: float, lowest: float, highest: float
) -> None:
    bowl = Bowl(bottom)
    found = Target(bowl, {"width": 32, "steps": 10, "batch": 4}, -5.5, (0, 1)).judge()
    assert (min(found.losses), max(found.losses)) == (lowest, highest)
    rates = [rate for rate, _ in bowl.tried]
    assert len(rates) == 2 * len(found.losses) == 2 * (2 * (highest - lowest) + 1)
    assert {seed for _, seed in bowl.tried} == {0, 1}
    assert found.landscape == pytest.approx(bottom, abs=0.15)
    assert found.parabola == pytest.approx(bottom, abs=0.05)


def test_one_seed_that_diverges_makes_a_rate_infinite() -> None:
    bowl = Bowl(-5.2, diverges=1)
    assert Target(bowl, {"width": 32, "steps": 10, "batch": 4}, -5.5, (0,)).loss(-5.0) < 9.0
    assert Target(bowl, {"width": 32, "steps": 10, "batch": 4}, -5.5, (0, 1)).loss(-5.0) == math.inf


@pytest.mark.slow
def test_studies_end_within_their_budget_and_say_what_they_found(pool: Trials) -> None:
    report = Report("test")
    widths.measure(TINY, pool, report)
    rows = {row.figure: row for row in report.rows}
    assert sum(row.figure.startswith("target at 2^") for row in report.rows) >= 9
    for make in widths.STUDIES:
        name = make(TINY, 0).name
        share = rows[f"{name}: share of one run of the target"].value
        # Only rungs look at what is spent after a trial was planned, and not before.
        assert isinstance(share, float)
        assert 0.0 < share <= 100.0 * (1.0 if make is not widths.rungs else 1.2)
        error, above = (
            rows[f"{name}: {what}"] for what in ("off by", "loss above the best of the sweep")
        )
        assert (error.met is not None) == (above.met is not None) == (make is widths.mixed)
        assert isinstance(error.value, float)
        assert isinstance(above.value, float)
        assert above.value > -5.0


def test_the_mixed_study_runs_again_as_it_ran(pool: Trials) -> None:
    spec = widths.mixed(TINY, 0)
    first, second = studies.run(spec, pool), studies.run(spec, pool)
    assert [one.parameters for one in first] == [one.parameters for one in second]
    assert len(first) > 5
    assert len({one.parameters["width"] for one in first}) == 2
    assert sum(one.cost.flops for one in first) <= TINY.share * TINY.flops


def test_trials_end_in_the_order_of_their_flops(pool: Trials) -> None:
    spec = widths.rungs(TINY, 0)
    found = studies.run(spec, pool)
    assert [one.number for one in found] == sorted(one.number for one in found)
    assert [one.cost.flops for one in found] == [trials.flops_of(one.parameters) for one in found]


@pytest.mark.slow
def test_nine_cells_predict_one_that_was_held_back(pool: Trials) -> None:
    report = Report("test")
    batches.measure(CELLS, pool, report)
    cells = [row for row in report.rows if row.figure.startswith("batch ")]
    assert len(cells) == 9
    rows = {row.figure: row for row in report.rows}
    error = rows["held back: off by"]
    assert isinstance(error.value, float)
    assert error.met == (error.value <= batches.ERROR_BAR)
    narrow, wide = (
        rows[f"cost over one run of the held-back cell at width {width}"].value
        for width in (32, 64)
    )
    assert isinstance(narrow, float)
    assert isinstance(wide, float)
    # 24 w^2 + 256 w: the cost follows the weights that multiply.
    assert narrow / wide == pytest.approx((24 * 64**2 + 256 * 64) / (24 * 32**2 + 256 * 32))


def test_the_held_back_cell_has_four_times_the_tokens_and_a_batch_of_its_own() -> None:
    sizes = batches.Sizes()
    target = sizes.target
    assert target["batch"] not in sizes.batches
    assert int(target["steps"]) * int(target["batch"]) * CONTEXT == 4 * sizes.tokens
    for batch in sizes.batches:
        space = batches.of_batch(sizes, batch).space["steps"]
        assert [steps * batch * CONTEXT * 4 for steps in space.model_dump()["values"]] == [
            sizes.tokens,
            2 * sizes.tokens,
            4 * sizes.tokens,
        ]


def test_results_are_kept_and_not_trained_again(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    given = studies.common({"width": 32, "steps": 2, "batch": 1, "seed": 0, "lr": 0.01})
    with Trials(file) as first:
        result = first.result(given)
        assert first.result(given) is result
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["loss"] == result.loss
    file.write_text(line + '\n{"parameters": {"wid')
    with Trials(file) as second:
        assert second.result(given) == result
    assert len(file.read_text().splitlines()) == 2


def test_a_trial_that_was_interrupted_goes_on_where_it_was(tmp_path: Path, pool: Trials) -> None:
    file = tmp_path / "trials.jsonl"
    sizes = {"width": 32, "steps": 6, "batch": 1, "seed": 0, "lr": 0.01}
    given = studies.common({**sizes, "checkpoint_every": 2})
    with Trials(file) as first:
        first.start(given)
        while not (states := list(tmp_path.rglob("state.pt"))):
            first._executor.poll(0.1)
    kept = states[0].read_bytes()
    states[0].write_bytes(b"broken")
    with Trials(file) as second, pytest.raises(RuntimeError, match="CheckpointRefused"):
        second.result(given)
    states[0].write_bytes(kept)
    with Trials(file) as third:
        result = third.result(given)
    assert result.cost.steps == 6
    assert result.loss == pool.result(given).loss
    assert not list(tmp_path.rglob("state.pt"))


def test_results_of_other_code_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    kept = {"parameters": {"lr": 0.01}, "loss": 2.0, "cost": {}, "code": trials.code()}
    file.write_text("\n".join(json.dumps({**kept, "code": each}) for each in ("old", kept["code"])))
    assert trials.read(file) == {key_of({"lr": 0.01}): Result(2.0, Cost())}
    file.write_text(json.dumps({**kept, "code": "old"}))
    assert trials.read(file) == {}


def test_a_trial_that_fails_ends_the_benchmark(pool: Trials) -> None:
    with pytest.raises(RuntimeError, match=r"width is 33; expected a multiple of 16"):
        pool.result(studies.common({"width": 33, "steps": 2, "batch": 1, "seed": 0, "lr": 0.01}))


def test_a_trial_that_diverges_is_a_result(pool: Trials) -> None:
    given = studies.common({"width": 32, "steps": 30, "batch": 2, "seed": 0, "lr": 1e6})
    result = pool.result(given)
    assert result.loss is None
    assert Finished(1, given, result.loss, result.cost).score is None


def test_a_study_that_cannot_be_planned_says_why(pool: Trials) -> None:
    broke = widths.Sizes(width=64, steps=16, batch=2, widths=(32, 64), narrow=(32, 48), share=0.1)
    with pytest.raises(ValueError, match="5 runs of the cheapest cell"):
        studies.run(widths.narrow(broke, 0), pool)
