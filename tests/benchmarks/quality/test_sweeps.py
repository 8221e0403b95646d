from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.quality.cache import Cache
from benchmarks.quality.pool import Pool
from benchmarks.quality.references import chosen_shapes, horizons
from benchmarks.quality.sweeps import Sweep, grid, run_sweeps, sweep_horizons
from benchmarks.quality.tasks import named
from benchmarks.quality.tuned import refined, tuned_references

(QUADRATIC,) = named("noisy-quadratic")
SHORT = replace(QUADRATIC, steps=400)
BEST_AT_400 = 2.0
"""log2 of the quadratic's best rate for a linear decay over 400 steps, of whole octaves: so short a run may start
where it grows."""


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Cache(tmp_path) as cache, Pool(cache, processes=0, quiet=True) as opened:
        yield opened


@pytest.mark.parametrize("center", [-4.0, 2.0, 4.0])
def test_a_sweep_moves_on_until_its_best_rate_is_inside(pool: Pool, center: float) -> None:
    sweep = Sweep(SHORT, "linear", SHORT.steps, (0,))
    run_sweeps(pool, [sweep], [center], points=3)
    exponents = sorted(sweep.outcomes)
    assert sweep.best == BEST_AT_400
    assert exponents[0] < sweep.best < exponents[-1]
    assert sweep.missing_edge is None
    assert len(exponents) == exponents[-1] - exponents[0] + 1


def test_longer_horizons_start_where_shorter_ones_ended(pool: Pool) -> None:
    short, long = sweep_horizons(pool, [SHORT], ["linear"], [0.25, 1.0], (0,), points=3)
    assert (short.steps, long.steps) == (100, 400)
    assert min(long.outcomes) == short.best - 1.0


def test_a_reference_reaches_less_loss_with_more_steps(pool: Pool) -> None:
    (found,) = tuned_references(pool, [SHORT], 1.0, lambda _: (100,), ["linear", "wsd50"])
    assert sorted(found.losses) == [200, 400, 800]
    losses = [found.losses[length][100] for length in (200, 400, 800)]
    assert losses[0] > losses[1] > losses[2] > 0.0
    assert found.right_lr == 2.0**BEST_AT_400
    assert found.seed_sd == 0.0


def test_the_best_rate_is_refined_towards_the_better_neighbour(pool: Pool) -> None:
    sweep = Sweep(SHORT, "linear", SHORT.steps, (0,))
    run_sweeps(pool, [sweep], [BEST_AT_400], points=3)
    towards = min((-1.0, 1.0), key=lambda octave: sweep.mean(BEST_AT_400 + octave, "A"))
    assert 0.0 < (refined(sweep) - BEST_AT_400) * towards <= 0.5


def test_grids_are_whole_octaves_around_their_center() -> None:
    assert grid(-3.9, 5) == [-6.0, -5.0, -4.0, -3.0, -2.0]
    assert grid(1.0, 4) == [-1.0, 0.0, 1.0, 2.0]


def test_lists_on_the_command_line() -> None:
    assert horizons("1,1/16,.5,2") == [1.0, 0.0625, 0.5, 2.0]
    assert chosen_shapes("wsd50,linear") == ["linear", "wsd50"]
    with pytest.raises(ValueError, match="choose of linear, cosine, wsd20, wsd50"):
        chosen_shapes("wsd50,square")
