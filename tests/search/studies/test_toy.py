"""The measured byte LM of the research notes: held-out losses by width and log2 of the rate, 300 steps, batch 16."""

from typing import Literal

import pytest
from pacesetter.protocol import Choice, Cost, Value
from pacesetter_search.studies import Finished, TransferStudy, transfer_study
from pacesetter_search.studies.cells import Place
from pacesetter_search.transfer.peak import Z90

from tests.search.studies.specs import LR, spec

FIRST = -10
MUP: dict[int, list[float | None]] = {
    32: [2.712, 2.564, 2.453, 2.384, 2.316, 2.278, 2.326, 2.582],
    64: [None, 2.471, 2.385, 2.308, 2.231, 2.173, 2.216, 2.403],
    128: [None, 2.419, 2.331, 2.261, 2.157, 2.114, 2.167, 2.498],
    256: [None, None, None, None, 2.107, 2.058, 2.089, None],
}
STANDARD: dict[int, list[float | None]] = {
    32: MUP[32],
    64: [None, 2.404, 2.337, 2.274, 2.234, 2.241, 2.379, 2.670],
    128: [2.360, 2.309, 2.253, 2.231, 2.338, 2.435, 2.580, None],
    256: [None, 2.237, 2.244, 2.330, None, None, None, None],
}
"""None: not run."""

PARABOLAS = {
    "mup": {32: -5.06, 64: -4.92, 128: -5.06, 256: -4.89},
    "standard": {32: -5.06, 64: -5.66, 128: -7.33, 256: -8.6},
}


def study(kind: Literal["mup", "standard"], widths: list[int], target: int) -> TransferStudy:
    table, found = MUP if kind == "mup" else STANDARD, list[Finished]()
    for width in widths:
        for place, loss in enumerate(table[width]):
            parameters: dict[str, Value] = {"lr": 2.0 ** (FIRST + place), "width": width}
            if loss is not None:
                found.append(Finished(len(found) + 1, parameters, loss, Cost()))
    of = spec(
        {"lr": LR, "width": Choice(values=(32, 64, 128, 256))},
        fixed={"steps": 300, "batch": 16, "parametrization": kind},
        max_trials=99,
        regime="pretrain",
    )
    return transfer_study(of, found, Place(width=target))


@pytest.mark.parametrize("kind", ["mup", "standard"])
def test_each_width_has_the_optimum_that_a_parabola_has(kind: Literal["mup", "standard"]) -> None:
    cells = study(kind, [32, 64, 128, 256], 256).cells
    for one in cells:
        assert one.found is not None
        expected = PARABOLAS[kind][int(one.cell.width)]
        assert one.found.mean == pytest.approx(expected, abs=0.6 if expected == -8.6 else 0.35)
    assert (cells[-1].found is not None and cells[-1].found.edge == "low") == (kind == "standard")


def test_narrow_widths_predict_the_widest_under_mup() -> None:
    found = study("mup", [32, 64], 256)
    assert found.peak.mean == pytest.approx(PARABOLAS["mup"][256], abs=0.25)
    assert abs(found.peak.mean - PARABOLAS["mup"][256]) < Z90 * found.peak.sd
    slope, sd = found.slopes["width"]
    assert slope == pytest.approx(0.0, abs=0.1)
    assert sd < 0.1


def test_without_mup_the_fall_with_the_width_is_believed_and_found() -> None:
    found = study("standard", [32, 64, 128], 256)
    assert found.peak.mean == pytest.approx(PARABOLAS["standard"][256], abs=0.7)
    assert abs(found.peak.mean - PARABOLAS["standard"][256]) < Z90 * found.peak.sd
    assert found.slopes["width"][0] == pytest.approx(-1.1, abs=0.25)
