"""The coordinate check: on a byte language model with muP and without, on depth, and its arithmetic by hand."""

import functools
import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from pacesetter import plot
from pacesetter.errors import ConfigurationError
from pacesetter.mup import (
    CoordinateCheck,
    Drift,
    Parametrization,
    coordinate_check,
    measure_coordinates,
)
from torch import Tensor, nn
from torch.optim import Optimizer

from demo.text import Windows, load_corpus
from tests.client.mup.models import perceptron
from tests.support.byte_decoder import ByteDecoder, next_byte_loss

LR = 2.0**-5


@functools.cache
def batches() -> tuple[Tensor, ...]:
    windows = Windows(load_corpus().train, 16, 64, seed=0)
    return tuple(windows.batch_at(step) for step in range(5))


@functools.cache
def check(form: Literal["mup", "standard"]) -> CoordinateCheck:
    return coordinate_check(
        ByteDecoder,
        (32, 64, 128),
        loss=next_byte_loss,
        batches=batches(),
        lr=LR,
        form=form,
        seeds=2,
    )


# -- the byte language model --


def test_with_mup_activations_keep_their_size_from_step_2_and_logits_from_3() -> None:
    found = check("mup")
    assert found.passed, found.failures
    assert set(found.sizes) == {"token", "place", "blocks.0", "blocks.1", "readout"}
    slopes = found.slopes()
    assert max(abs(slopes[f"blocks.{n}"][1:]).max() for n in (0, 1)) <= 0.15
    assert abs(slopes["readout"][2:]).max() <= 0.15
    # At first a readout sums what is independent of it: the root of the width over the width.
    assert slopes["readout"][0] == pytest.approx(-0.5, abs=0.05)


def test_without_it_they_grow_by_more_than_the_control_asks_for() -> None:
    found = check("standard")
    assert not found.passed
    assert found.drift > 0.3
    assert found.slopes()["blocks.0"][4] > 1.5  # 2.2 over widths 32 to 256
    assert Drift("blocks.0", 5, found.slopes()["blocks.0"][4]) in found.failures


def test_a_rate_that_is_not_scaled_is_found_out() -> None:
    def build(width: int) -> tuple[nn.Module, Optimizer]:
        form = Parametrization.by_shapes(ByteDecoder, width, base_width=32)
        model = form.apply_(ByteDecoder(width))
        return model, torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0)

    found = measure_coordinates(
        build, (32, 64, 128), loss=next_byte_loss, batches=batches()[:4], seeds=1
    )
    assert {drift.module for drift in found.failures} >= {"blocks.0", "blocks.1"}


def test_with_completep_the_stream_keeps_its_size_in_depth_and_without_it_grows() -> None:
    def build(depth: int, *, scaled: bool) -> tuple[nn.Module, Optimizer]:
        form = Parametrization.by_shapes(
            functools.partial(ByteDecoder, depth=depth),
            32,
            base_width=32,
            depth_ratio=depth / 2 if scaled else 1.0,
            branches=("blocks.*.project", "blocks.*.down"),
        )
        model = form.apply_(ByteDecoder(32, depth=depth))
        return model, torch.optim.AdamW(form.groups(model, LR), betas=(0.9, 0.95))

    slopes = {}
    for scaled in (True, False):
        found = measure_coordinates(
            functools.partial(build, scaled=scaled),
            (2, 4, 8),
            loss=next_byte_loss,
            batches=batches(),
            seeds=1,
            watch=("stream",),
        )
        slopes[scaled] = found.slopes()["stream"][2:]
    # What branches add before they have learned anything, by the root of the depth over the depth, is small by then.
    assert abs(slopes[True]).max() <= 0.15
    assert abs(slopes[False]).max() > 0.5


def test_the_random_state_is_put_back() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    measure_coordinates(
        lambda width: (net := ByteDecoder(width), torch.optim.SGD(net.parameters(), lr=0.1)),
        (16, 32),
        loss=next_byte_loss,
        batches=batches()[:3],
        seeds=1,
    )
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("rules", "hidden", "rest"), [("adamw", 0.25, 1.0), ("sgd", 1.0, 4.0)])
def test_the_check_trains_by_the_rules_of_the_optimizer(
    rules: Literal["adamw", "sgd"], hidden: float, rest: float
) -> None:
    scales: list[dict[str, float]] = []

    def optimizer(groups: list[dict[str, Any]]) -> Optimizer:
        scales.append({group["name"]: group["lr_scale"] for group in groups})
        return torch.optim.SGD(groups)

    coordinate_check(
        ByteDecoder,
        (16, 64),
        loss=next_byte_loss,
        batches=batches()[:3],
        lr=LR,
        seeds=1,
        optimizer=optimizer,
        rules=rules,
    )
    names = ("input", "vector", "output")
    assert scales[1] == {"hidden": hidden, **dict.fromkeys(names, rest)}


def test_by_the_rules_of_sgd_plain_sgd_keeps_sizes_and_rules_of_nobody_are_refused() -> None:
    run = functools.partial(
        coordinate_check,
        perceptron,
        (32, 128, 512),
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        batches=[
            (torch.randn(64, 7, generator=made), torch.randint(0, 5, (64,), generator=made))
            for made in map(torch.Generator().manual_seed, range(5))
        ],
        lr=0.5,
        watch=("2",),
    )
    by_sgd, given = run(rules="sgd"), run(rules="sgd", optimizer=torch.optim.SGD)
    assert by_sgd.passed, by_sgd
    assert np.array_equal(by_sgd.losses, given.losses)
    with pytest.raises(ConfigurationError, match="no rules for 'lion'"):
        run(rules="lion")  # type: ignore[arg-type]


# -- the arithmetic --


def synthetic(
    powers: dict[str, list[float]], vanishing: frozenset[str] = frozenset()
) -> CoordinateCheck:
    """Return a check of sizes that are powers of the width, by module a power a step, over three seeds."""
    widths = (16, 32, 128)
    sizes = {
        name: np.array([[[width**power for power in each]] * 3 for width in widths])
        for name, each in powers.items()
    }
    return CoordinateCheck(
        widths, sizes, np.ones((3, 3, len(next(iter(powers.values()))))), vanishing
    )


def test_the_slope_of_a_power_is_its_exponent() -> None:
    found = synthetic({"a": [0.0, 0.5, -0.25, 1.0]})
    assert found.slopes()["a"] == pytest.approx([0.0, 0.5, -0.25, 1.0])
    assert found.drift == pytest.approx(1.0)
    assert [(d.step, round(d.slope, 9)) for d in found.failures] == [(2, 0.5), (3, -0.25), (4, 1.0)]


def test_the_slope_that_counts_is_the_one_furthest_out_of_those_that_are_judged() -> None:
    powers = {"a": [2.0, 0.05, -0.1, 0.0], "head": [-0.5, -0.4, 0.1, -0.05]}
    found = synthetic(powers, vanishing=frozenset({"head"}))
    assert found.furthest() == pytest.approx({"a": -0.1, "head": 0.1})
    assert found.passed
    assert synthetic(powers).furthest()["head"] == pytest.approx(-0.4)
    assert synthetic({"head": [0.0, 0.3, 0.1]}, vanishing=frozenset({"head"})).furthest() == {
        "head": pytest.approx(0.3)
    }
    for vanishing in (frozenset[str](), frozenset({"a"})):
        still = synthetic({"a": [0.0, math.nan, 0.0]}, vanishing)
        assert math.isnan(still.furthest()["a"])
        assert not still.passed
    lost = synthetic({"a": [0.0, math.inf, 0.0]})
    assert math.isnan(lost.furthest()["a"])
    assert not lost.passed


def test_a_seed_that_differs_moves_the_mean_of_logarithms() -> None:
    sizes = np.array([[[1.0], [4.0]], [[2.0], [8.0]]])
    found = CoordinateCheck((16, 32), {"a": sizes}, np.ones((2, 2, 1)))
    assert found.slopes()["a"] == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("powers", "passes"),
    [
        ([1.0, 0.149, -0.149], True),  # the first step is not judged
        ([0.0, 0.16, 0.0], False),
        ([0.0, -0.16, 0.0], False),
        ([0.0, 0.0, -0.16], False),
    ],
)
def test_bounds_hold_from_step_2_on(powers: list[float], passes: bool) -> None:
    assert synthetic({"a": powers}).passed is passes


@pytest.mark.parametrize(
    ("powers", "passes"),
    [
        ([-0.5, -0.4, 0.0], True),
        ([-0.5, 0.2, 0.0], False),  # growing is not vanishing
        ([-0.5, -0.4, -0.2], False),
    ],
)
def test_a_readout_may_vanish_until_step_3(powers: list[float], passes: bool) -> None:
    assert synthetic({"head": powers}, frozenset({"head"})).passed is passes


def test_a_readout_that_starts_at_zero_has_no_slope_there_and_passes() -> None:
    found = synthetic({"head": [0.0, 0.1, 0.0], "a": [0.0, 0.0, 0.0]}, frozenset({"head"}))
    sizes = {**found.sizes, "head": found.sizes["head"] * np.array([0.0, 1.0, 1.0])}
    zeroed = CoordinateCheck(found.widths, sizes, found.losses, found.vanishing)
    assert np.isnan(zeroed.slopes()["head"][0])
    assert zeroed.passed


def test_sizes_that_are_not_finite_fail() -> None:
    sizes = {"a": np.array([[[1.0, np.inf, np.inf]], [[1.0, 1.0, 1.0]]])}
    found = CoordinateCheck((16, 32), sizes, np.ones((2, 1, 3)))
    assert [drift.step for drift in found.failures] == [2, 3]


def test_the_table_says_the_slopes_and_the_verdict() -> None:
    lines = str(synthetic({"a": [0.0, 0.5, 0.0], "block": [0.0, 0.0, 0.0]})).splitlines()
    assert lines[0] == "slopes over widths (16, 32, 128), steps 1 to 3"
    assert lines[1] == "a      +0.00 +0.50 +0.00"
    assert lines[-1] == "failed: 1 slopes out of bounds"


def test_modules_are_watched_by_pattern_and_unknown_ones_are_refused() -> None:
    run = functools.partial(
        coordinate_check,
        ByteDecoder,
        (16, 32),
        loss=next_byte_loss,
        batches=batches()[:3],
        lr=LR,
        seeds=1,
    )
    assert set(run(watch=("blocks.*.up",)).sizes) == {"blocks.0.up", "blocks.1.up", "readout"}
    with pytest.raises(ConfigurationError, match=r"sizes .* have no slope"):
        coordinate_check(ByteDecoder, (16,), loss=next_byte_loss, batches=batches(), lr=LR)
    with pytest.raises(ConfigurationError, match="2 batches are too few"):
        run(batches=batches()[:2])
    with pytest.raises(ConfigurationError, match="seeds is 0"):
        run(seeds=0)
    with pytest.raises(ConfigurationError, match="no module of all sizes matches"):
        measure_coordinates(
            lambda width: (net := ByteDecoder(width), torch.optim.SGD(net.parameters(), lr=0.1)),
            (16, 32),
            loss=next_byte_loss,
            batches=batches()[:3],
            seeds=1,
            watch=("layers.*",),
        )


# -- the picture --


def test_the_picture_has_a_line_a_module_with_its_slope() -> None:
    ax = plot.coordinates(synthetic({"a": [0.0, 0.5, 0.0], "b": [0.0, 0.0, 1.0]}), step=2)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a +0.50", "b +0.00"]
    assert np.asarray(ax.lines[0].get_ydata()) == pytest.approx([4.0, 32**0.5, 128**0.5])
    assert ax.get_title() == "step 2: failed over all steps"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert to_hex(ax.lines[0].get_color()) != to_hex(ax.lines[1].get_color())


def test_a_step_that_was_not_watched_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="there is no step 4; the check has steps 1 to 3"):
        plot.coordinates(synthetic({"a": [0.0, 0.0, 0.0]}), step=4)
