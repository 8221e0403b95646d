"""The annealing law and the ensemble on public curves, which are not part of this repository."""

import numpy as np
import pytest
from pacesetter_search.laws import AnnealingLaw, EnsembleLaw, FittedLaw

from benchmarks.public_curves import FITTED, FOLDER, TESTED, multi_power_curve

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the public curves are not at {FOLDER}; they stay outside the repo"
)


def relative_error(law: FittedLaw, size: int) -> float:
    """Return PredE: the mean relative error of each test curve, averaged over curves."""
    errors = []
    for name in TESTED:
        curve = multi_power_curve(size, name)
        mean = law.predict(curve.lrs, curve.positions).mean
        errors.append(float(np.mean(np.abs(mean - curve.losses) / curve.losses)))
    return float(np.mean(errors))


@pytest.mark.parametrize(("size", "noted"), [(25, 0.00152), (100, 0.00140)])
def test_the_published_split_is_predicted_as_noted(size: int, noted: float) -> None:
    law = AnnealingLaw(1000.0).fit([multi_power_curve(size, name) for name in FITTED])
    assert relative_error(law, size) == pytest.approx(noted, abs=6e-5)
    assert law.warnings == ()


@pytest.mark.parametrize(("size", "bar"), [(25, 0.0016), (100, 0.0014)])
def test_constant_and_cosine_suffice(size: int, bar: float) -> None:
    curves = [multi_power_curve(size, name) for name in FITTED[:2]]
    assert relative_error(EnsembleLaw().fit(curves), size) <= bar
    assert relative_error(AnnealingLaw(1000.0).fit(curves), size) <= 1.01 * bar


def test_a_cosine_alone_is_worse_and_says_so() -> None:
    law = AnnealingLaw(1000.0).fit([multi_power_curve(25, "cosine_24000")])
    assert 0.003 < relative_error(law, 25) < 0.006
    assert len(law.warnings) == 1
