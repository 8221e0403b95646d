"""The annealing law on public curves, which are not part of this repository."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pacesetter_search.laws import AnnealingLaw, Curve, FittedAnnealing

DATA = Path(__file__).parents[4] / "shared" / "data" / "multipowerlaw"
WARMUP = 2160
FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
TESTED = (
    "constant_72000",
    "cosine_72000",
    "wsd_20000_24000",
    "wsdld_20000_24000",
    "wsdcon_3",
    "wsdcon_18",
)

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the public curves are not at {DATA}; they stay outside the repo"
)


def read(size: int, name: str) -> Curve:
    """Return a run: its rates are read at each row, and rise from 0 over the warm-up that is not recorded."""
    with (DATA / f"csv_{size}" / f"{name}.csv").open() as file:
        rows = [
            (float(row["step"]), float(row["lr"]), float(row["loss"]))
            for row in csv.DictReader(file)
        ]
    steps, lrs, losses = (np.array(column) for column in zip(*rows, strict=True))
    known = np.concatenate([[0.0, WARMUP], steps[1:]]), np.concatenate([[0.0, lrs[0]], lrs[1:]])
    return Curve.of(np.interp(np.arange(1, int(steps[-1]) + 1), *known), steps, losses)


def relative_error(law: FittedAnnealing, size: int) -> float:
    """Return PredE: the mean relative error of each test curve, averaged over curves."""
    errors = []
    for name in TESTED:
        curve = read(size, name)
        mean = law.predict(curve.lrs, curve.positions).mean
        errors.append(float(np.mean(np.abs(mean - curve.losses) / curve.losses)))
    return float(np.mean(errors))


@pytest.mark.parametrize(("size", "noted"), [(25, 0.00152), (100, 0.00140)])
def test_the_published_split_is_predicted_as_noted(size: int, noted: float) -> None:
    law = AnnealingLaw(1000.0).fit([read(size, name) for name in FITTED])
    assert relative_error(law, size) == pytest.approx(noted, abs=6e-5)
    assert law.warnings == ()


@pytest.mark.parametrize(("size", "bar"), [(25, 0.0016), (100, 0.0014)])
def test_constant_and_cosine_suffice(size: int, bar: float) -> None:
    law = AnnealingLaw(1000.0).fit([read(size, name) for name in FITTED[:2]])
    assert relative_error(law, size) <= bar


def test_a_cosine_alone_is_worse_and_says_so() -> None:
    law = AnnealingLaw(1000.0).fit([read(25, "cosine_24000")])
    assert 0.003 < relative_error(law, 25) < 0.006
    assert len(law.warnings) == 1
