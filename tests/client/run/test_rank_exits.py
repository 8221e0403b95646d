"""Two real gloo ranks of which one does something else than the other, or leaves: nobody is held up for ever."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
Seen = list[dict[str, Any]]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Return what rank 0 and rank 1 saw; both ended by themselves, with an exchange under way."""
    folder = tmp_path_factory.mktemp("exits")
    files = [folder / "0.json", folder / "1.json"]
    module = "tests.client.run.ranked_exits"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, folder / "store", str(rank), file],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [json.loads(file.read_text()) for file in files]


def test_counters_asked_for_on_one_rank_do_not_move_its_exchanges(ranks: Seen) -> None:
    for seen in (each["counters_on_one_rank"] for each in ranks):
        # It came during the tenth step: sent at the exchange after 12, taken up at the one after 16.
        assert seen["rates"] == [0.1] * 16 + [0.2] * 4
        assert (seen["steps"], seen["tokens"]) == (20, 160)


def test_a_run_may_finish_while_an_exchange_is_under_way(ranks: Seen) -> None:
    for seen in (each["finished_amid_an_exchange"] for each in ranks):
        assert (seen["under_way"], seen["position"]) == (True, 10)
        assert seen["seconds"] < 20.0


def test_an_exception_on_one_rank_in_a_probe_waits_for_no_other_rank(ranks: Seen) -> None:
    first, second = (each["exception_in_a_probe_on_one_rank"] for each in ranks)
    assert first["probe"]
    assert second["probe"]
    assert second["restored"]
    assert second["position"] == 3
    assert second["seconds"] < 20.0


def test_a_clause_that_fires_on_one_rank_at_the_last_step_stops_the_probe_on_both(
    ranks: Seen,
) -> None:
    first, second = (each["stopped_at_the_end"] for each in ranks)
    assert first["rates"] == second["rates"]
    assert first["ends"] == second["ends"] == 1
    assert [2, "stopped", 5] in first["ended"]
    assert first["counted"] == second["counted"] == [20, 5]


def test_a_rank_that_never_begins_holds_another_up_to_the_timeout_of_the_group(ranks: Seen) -> None:
    seen = ranks[0]["never_begun"]
    assert "Timed out" in seen["error"]
    assert 0.5 <= seen["seconds"] < 30.0
