"""What the pictures hold: lines, bands and places, read back from the axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from pacesetter import Schedule, plot
from pacesetter.errors import ConfigurationError
from pacesetter.schedules import Cosine, Linear


def words(ax: Any) -> list[str]:
    """Return what the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax: Any, number: int) -> tuple[Any, Any]:
    """Return the points of a line."""
    places, values = ax.lines[number].get_data()
    return np.asarray(places), np.asarray(values)


def test_schedules_side_by_side_have_a_line_and_a_name_each() -> None:
    ax = plot.schedules(
        {
            "cosine": Schedule(length=100, body=Cosine()),
            "linear": Schedule(length=100, body=Linear()),
        }
    )
    assert words(ax) == ["cosine", "linear"]
    places, values = line(ax, 1)
    assert np.interp(50.0, places, values) == pytest.approx(0.5)


def test_a_prediction_has_its_band_and_what_was_measured() -> None:
    steps = np.array([1.0, 2.0, 3.0])
    ax = plot.prediction(steps, 4.0 - steps, [0.1, 0.1, 0.2], measured=(steps, 4.1 - steps))
    assert len(ax.lines) == 2
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((1.0 - 0.32898, 3.0 + 0.16449), abs=1e-4)


def test_a_bowl_marks_lost_runs_the_interval_and_the_recommended_rate(tmp_path: Path) -> None:
    ax = plot.bowl([4e-3, 1e-3, 2e-3], [np.nan, 2.5, 2.4], interval=(1e-3, 3e-3), best=1.8e-3)
    assert ax.get_xscale() == "log"
    assert line(ax, 0)[0].tolist() == [1e-3, 2e-3]
    assert line(ax, 1)[0].tolist() == [4e-3]
    assert words(ax) == ["final loss", "lost", "best rate, 90 %", "0.0018"]
    assert isinstance(ax.figure, Figure)
    ax.figure.savefig(tmp_path / "bowl.png")
    assert (tmp_path / "bowl.png").stat().st_size > 5000


def test_a_ranking_has_the_best_on_top() -> None:
    answer: dict[str, Any] = {
        "candidates": [
            {"name": "wsd", "loss": 2.9, "loss_90": [2.88, 2.92]},
            {"name": "cosine", "loss": 2.95, "loss_90": [2.9, 3.0]},
        ]
    }
    ax = plot.ranking(answer)
    ticks = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert ticks["wsd"] > ticks["cosine"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot.schedules({}),
        lambda: plot.prediction([1, 2], [1.0], [0.1]),
        lambda: plot.bowl([1.0, 0.0], [1.0, 2.0]),
        lambda: plot.bowl([1.0], [float("nan")]),
        lambda: plot.ranking({}),
    ],
)
def test_what_cannot_be_drawn_is_said(draw: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"give|pass"):
        draw()
