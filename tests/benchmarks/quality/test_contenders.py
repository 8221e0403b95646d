import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pacesetter_search.strategies import get_strategy

from benchmarks.quality.baselines import published, rate_free, searches
from benchmarks.quality.board import Board, Plan
from benchmarks.quality.contenders import (
    CONTENDERS,
    Baseline,
    Steered,
    absent_lr,
    contenders_named,
    main_steps,
    start_lr,
)
from benchmarks.quality.contests import SteeredContest, contests
from benchmarks.quality.report import document, plot, table
from benchmarks.quality.results import page
from benchmarks.quality.score import Score
from benchmarks.quality.steered import Steering, run_steered
from benchmarks.quality.tasks import TASKS, named
from benchmarks.quality.tuned import Reference
from benchmarks.reporting import Report

(LOGISTIC,) = named("digits-logistic")
SHORT = replace(LOGISTIC, steps=320)
REFERENCE = Reference(
    SHORT,
    320,
    "wsd50",
    2.0,
    {160: {100: 0.30}, 320: {100: 0.25}, 640: {100: 0.20}},
    4.0,
    {"wsd50": 2.0},
    1000,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "baseline",
    [
        published.untuned,
        published.untuned_longer,
        published.law,
        searches.three_point_sweep,
        searches.successive_halving,
    ],
    ids=lambda baseline: baseline.__name__,
)
def test_a_baseline_uses_no_more_steps_than_allowed(baseline: object) -> None:
    assert callable(baseline)
    found = baseline(SHORT, 320, 368, 5)
    assert found.steps in (320, 368)
    assert 0.0 < found.main_steps <= found.steps
    assert found.B / LOGISTIC.open(5).validate("B") < 0.9


def test_searches_put_what_probing_left_into_the_run() -> None:
    sweep = searches.three_point_sweep(SHORT, 320, 368, 0)
    halving = searches.successive_halving(SHORT, 320, 368, 0)
    assert (sweep.steps, sweep.main_steps) == (368, 368 - 3 * 20)
    assert (halving.steps, halving.main_steps) == (368, 368 - 8 * 2 - 4 * 5 - 2 * 10)


def test_law_falls_back_on_the_fields_default_outside_its_range() -> None:
    assert {published.law_lr(task, task.steps) for task in TASKS} <= {0.1, 1e-3}


@pytest.mark.parametrize("name", ["prodigyopt", "dadaptation", "schedulefree"])
def test_rate_free_optimizers_learn_at_their_defaults(name: str) -> None:
    pytest.importorskip(name)
    run = {
        "prodigyopt": rate_free.prodigy,
        "dadaptation": rate_free.d_adaptation,
        "schedulefree": rate_free.schedule_free,
    }[name]
    found = run(SHORT, 320, 368, 0)
    assert found.steps == 368
    assert found.B / LOGISTIC.open(0).validate("B") < 0.9


def test_every_steered_contender_has_a_strategy_that_takes_its_parameters() -> None:
    steered = [contender for contender in CONTENDERS if isinstance(contender, Steered)]
    assert len(steered) >= 8
    for contender in steered:
        get_strategy(contender.strategy).from_document(dict(contender.parameters))


def test_names_are_distinct_and_placebos_name_somebody() -> None:
    names = [contender.name for contender in CONTENDERS]
    assert len(set(names)) == len(names)
    paid = {c.placebo_of for c in CONTENDERS if isinstance(c, Steered)} - {None}
    assert paid <= set(names)


def test_contenders_are_chosen_by_words_of_their_names() -> None:
    assert [c.name for c in contenders_named("Prodigy,halving")] == [
        "successive halving",
        "Prodigy",
    ]
    with pytest.raises(ValueError, match="no contender's name contains 'magic'"):
        contenders_named("Prodigy,magic")


def test_a_job_starts_at_the_rate_that_its_contender_stands_for() -> None:
    starts = {
        start: start_lr(start, LOGISTIC, right=4.0)
        for start in ("absent", "default", "right", "low", "high")
    }
    assert starts == {
        "absent": 1e-3,
        "default": 0.1,
        "right": 4.0,
        "low": pytest.approx(4 / 30),
        "high": 120.0,
    }


def test_an_absent_rate_is_torchs_default_of_the_optimizer() -> None:
    found = {task.name: absent_lr(task) for task in TASKS if "mnist1d" not in task.name}
    assert set(found.values()) == {1e-3}  # of SGD, Adam, AdamW and Muon alike


def test_the_published_search_shares_all_steps_between_probes_and_main_line() -> None:
    (published_search,) = contenders_named("autolrs as published")
    assert isinstance(published_search, Steered)
    assert main_steps(published_search, steps=2000, total=2300) == 1150
    assert published_search.cap == 1.0


def test_contests_get_the_whole_allowance_in_whole_steps() -> None:
    (halving,) = contenders_named("halving")
    works = contests(halving, REFERENCE, [100, 101], cap=0.15)
    assert [work.seed for work in works] == [100, 101]
    assert [work.document()["total"] for work in works] == [368, 368]
    (quadratic,) = named("noisy-quadratic")
    (prodigy,) = contenders_named("Prodigy")
    assert contests(prodigy, replace(REFERENCE, task=quadratic), [100], cap=0.15) == []


def test_placebos_may_not_probe() -> None:
    (placebo,) = contenders_named("placebo: no rate")
    (work,) = contests(placebo, REFERENCE, [100], cap=0.15)
    assert isinstance(work, SteeredContest)
    assert work.steering.cap == 0.0
    assert work.steps == 320


def test_without_a_controller_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACESETTER_URL", raising=False)
    (contender,) = contenders_named("base schedule")
    assert isinstance(contender, Steered)
    with pytest.raises(RuntimeError, match="start a controller"):
        run_steered(SHORT, Steering("fixed", {}, 0.0, contender.limits), 0.1, 320, 0)


def test_a_board_becomes_a_table_a_document_and_a_picture(tmp_path: Path) -> None:
    contenders = (
        Baseline("good", published.untuned),
        Baseline("bad", published.law),
        Baseline("missing", published.law),
    )
    scores = {
        (SHORT.name, "good"): {100: Score(0.2, 0.25, False, 368, 320, {"main": 1.0})},
        (SHORT.name, "bad"): {100: Score(9.0, 9.0, True, 368, 320, {"main": 1.0, "probe": 2.0})},
    }
    board = Board(Plan((SHORT,), contenders), [REFERENCE], scores, ("missing: told to",))
    text = table(board)
    assert "| good | +0.0 % |  | 1.15 |  | 1.150 | 0 of 1 | 1.0 + 0.0 |" in text
    assert "over 18" in text
    assert "- missing: told to" in text
    found = document(board)
    assert [row["contender"] for row in found["standings"]] == ["good", "bad"]
    assert found["standings"][0]["log_ratio"]["error"] is None
    rows = {"figure": "a figure", "value": 0.5, "unit": "%", "bar": "<= 1", "met": False}
    whole = {**Report("quality").document(), **found, "rows": [rows]}
    both = page([("Drawn", whole), ("Named", json.loads(json.dumps(whole)))])
    assert both.index("## Drawn") < both.index("## Named")
    assert both.count("| a figure | 0.5 % | <= 1 | **no** |") == 2
    assert both.count("| good | +0.0 % |") == 4  # over all tasks, and on this one
    plot(board, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_on_a_board_a_placebo_is_charged_for_the_probes_of_the_contender_it_stands_beside() -> None:
    ours, placebo = contenders_named("no rate")
    scores = {
        (SHORT.name, ours.name): {100: Score(0.2, 0.25, False, 352, 320, {"main": 1.0})},
        (SHORT.name, placebo.name): {100: Score(0.2, 0.5, False, 320, 320, {"main": 1.0})},
    }
    board = Board(Plan((SHORT,), (ours, placebo)), [REFERENCE], scores)
    assert [one.steps for one in board.standings()] == pytest.approx([1.1, 1.1])
    gap = board.against(SHORT.name, placebo.name, ours.name)
    assert gap is not None
    assert gap.mean == pytest.approx(math.log(2.0))
    assert board.against(SHORT.name, ours.name, "nobody") is None
