"""The guide to studies says what is so."""

import json
import re
from pathlib import Path

from pacesetter.protocol import ExperimentSpec
from pacesetter_search.studies import (
    STUDY_STRATEGIES,
    TransferStudy,
    get_study_strategy,
)
from pacesetter_search.studies.cells import Cell

from tests.search.studies.specs import run
from tests.search.studies.truth import Truth, cost

GUIDE = (Path(__file__).parents[3] / "docs" / "studies.md").read_text()


def example() -> ExperimentSpec:
    (block,) = re.findall(r"^```json\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return ExperimentSpec.model_validate(json.loads(block))


def test_every_strategy_has_a_row_with_its_tier() -> None:
    rows = re.findall(r"^\| (?:\[`|`)(\w+)`.*\| (\w+) \|$", GUIDE, re.MULTILINE)
    assert dict(rows) == {name: get_study_strategy(name).tier for name in STUDY_STRATEGIES}


def test_the_experiment_can_be_planned_and_the_answer_is_read_as_it_stands() -> None:
    of = example()
    assert of.strategy.name == "fidelity"
    strategy = get_study_strategy(of.strategy.name).from_document(of.strategy.parameters)
    assert not list(strategy.obstacles(of))
    found = run(strategy, of, Truth().loss, cost=cost)[:12]
    (block,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"spec": of, "finished": found}
    exec(compile(block, "studies.md", "exec"), names)
    study = names["study"]
    assert isinstance(study, TransferStudy)
    assert study.target == Cell(256.0, 1.0, 1200.0, 16.0)
    assert abs(study.peak.mean - Truth().best) < 1.0
