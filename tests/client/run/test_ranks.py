"""Two real gloo ranks act as one. Both processes run all scenarios once; each test looks at one."""

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
    """Return what rank 0 and rank 1 saw."""
    folder = tmp_path_factory.mktemp("ranks")
    files = [folder / "0.json", folder / "1.json"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.client.run.ranked", folder / "store", str(rank), file],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    errors = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [json.loads(file.read_text()) for file in files]


def positions(rows: list[list[Any]], *, main: bool) -> list[int]:
    return [row[0] for row in rows if row[1] is main]


@pytest.mark.parametrize("name", ["plain", "ddp"])
def test_both_ranks_walk_the_same_steps_at_the_same_rates(ranks: Seen, name: str) -> None:
    first, second = (seen[name] for seen in ranks)
    assert [row[:3] for row in first["rows"]] == [row[:3] for row in second["rows"]]
    assert positions(first["rows"], main=True) == list(range(20))
    assert positions(first["rows"], main=False) == list(range(5, 14))
    assert first["rows"][-1][2] == 0.05
    assert first["weights"] == second["weights"]


def test_only_rank_zero_speaks(ranks: Seen) -> None:
    assert ranks[0]["plain"]["order"][0] == "session_began:0"
    assert ranks[1]["plain"]["order"] == []


def test_a_divergence_on_one_rank_stops_the_probe_on_all(ranks: Seen) -> None:
    first, second = (seen["nan"] for seen in ranks)
    assert positions(first["rows"], main=False) == positions(second["rows"], main=False)
    probe = positions(first["rows"], main=False)
    # The NaN of the seventh step is sent at the exchange after nine steps, and judged at the one after twelve.
    assert probe == list(range(5, 12))
    assert [2, "stopped", 7] in first["ended"]
    assert positions(first["rows"], main=True) == list(range(20))


def test_when_nobody_answers_all_ranks_fall_back_together(ranks: Seen) -> None:
    first, second = (seen["nobody"] for seen in ranks)
    assert first["fallbacks"] == second["fallbacks"] == 1
    assert [row[:3] for row in first["rows"]] == [row[:3] for row in second["rows"]]
    assert first["rows"][-1][2] == pytest.approx(0.15)


def test_a_snapshot_that_fails_on_one_rank_keeps_all_on_the_main_line(ranks: Seen) -> None:
    for seen in ranks:
        assert positions(seen["snapshot"]["rows"], main=False) == []
        assert positions(seen["snapshot"]["rows"], main=True) == list(range(20))


def test_a_refused_registration_is_raised_on_every_rank(ranks: Seen) -> None:
    assert [seen["refusal"]["code"] for seen in ranks] == ["UNKNOWN_STRATEGY"] * 2


def test_what_arrives_between_two_exchanges_starts_on_both_ranks_at_the_same_step(
    ranks: Seen,
) -> None:
    rates = [[row[2] for row in seen["late"]["rows"]] for seen in ranks]
    assert rates[0] == rates[1]
    # It came during the sixth step: sent at the exchange after eight, taken up at the one after twelve.
    assert rates[0] == [0.1] * 12 + [0.2] * 8


def test_ranks_that_count_different_tokens_are_told(ranks: Seen) -> None:
    first, second = (seen["disagreement"]["error"] for seen in ranks)
    assert first is None
    assert "stood at 27 and rank 0 at 24" in second


def test_ranks_under_a_feedback_rule_step_at_one_rate(ranks: Seen) -> None:
    first, second = (seen["regulated"] for seen in ranks)
    assert first["replicas"] == second["replicas"]
    assert first["shards"] == second["shards"]
    assert len(set(first["replicas"])) > 15
    # The inner products of the shards add up to those of the whole model.
    assert first["shards"] == pytest.approx(first["whole"], rel=1e-5)
    assert len(set(first["whole"])) > 15


def test_the_noise_between_replicas_is_that_between_micro_batches(ranks: Seen) -> None:
    first, second = (seen["regulated"] for seen in ranks)
    assert first["noise_replicas"] == second["noise_replicas"]
    assert first["noise_replicas"] == pytest.approx(first["noise_whole"], rel=1e-4)
    assert len(set(first["noise_replicas"])) > 5


def test_a_sharded_model_comes_back_from_a_probe_bit_for_bit(ranks: Seen) -> None:
    for seen in (each["sharded"] for each in ranks):
        assert positions(seen["rows"], main=False) == list(range(5, 14))
        assert [row for row in seen["rows"] if row[1]] == seen["plain"]
        assert seen["weights"] == seen["plain_weights"]


def test_what_rank_zero_shares_arrives_whole_whatever_its_length(ranks: Seen) -> None:
    assert [seen["shared"] for seen in ranks] == [[0, 245, 246, 247, 5000]] * 2


def walked(ranks: Seen, name: str) -> list[list[float]]:
    """Return position and rate of every step of a guarded main line, which are the same on both ranks."""
    first, second = (seen[name] for seen in ranks)
    assert first["rows"] == second["rows"]
    assert first["completed"]
    assert second["completed"]
    rows: list[list[float]] = first["rows"]
    return rows


def test_a_mean_loss_above_its_bound_stops_the_main_line_of_all_ranks_at_the_same_step(
    ranks: Seen,
) -> None:
    rows = walked(ranks, "average")
    # The average of 1, ... 1, 5, 5 is 4 after the twelfth step: sent at the exchange there, judged at the one after 16.
    assert ranks[0]["average"]["ended"][0] == [1, "stopped", "AVERAGE_ABOVE", 16]
    assert rows == [[at, 0.1 if at < 16 else 0.05] for at in range(40)]
    assert ranks[0]["average"]["notices"]["STOPPED"]["average"] == 4.0


def test_nan_on_one_rank_takes_the_main_line_of_all_ranks_back_to_the_same_snapshot(
    ranks: Seen,
) -> None:
    rows = walked(ranks, "no_number")
    # Exchanges are due four steps apart, and at each snapshot.
    assert ranks[0]["no_number"]["ended"][0] == [1, "stopped", "NON_FINITE", 28]
    assert [row[0] for row in rows] == [*range(28), *range(20, 40)]


def test_a_gradient_norm_that_one_rank_alone_knows_upsets_no_exchange(ranks: Seen) -> None:
    assert [row[0] for row in walked(ranks, "norms_on_one_rank")] == list(range(40))


def test_a_run_resumed_after_a_stop_is_guarded_on_all_ranks(ranks: Seen) -> None:
    # Resumed at 21; the NaN of the fifth step is sent after eight steps and judged after twelve.
    expected = [[at, 0.05 if at < 33 else 0.025] for at in range(21, 40)]
    assert walked(ranks, "resumed") == expected


@pytest.mark.parametrize(
    ("name", "total", "taken_up"),
    [("extended", 30, 12), ("cut_short", 17, 12), ("extended_at_the_end", 26, 20)],
)
def test_a_changed_budget_holds_on_all_ranks_from_the_same_step(
    ranks: Seen, name: str, total: int, taken_up: int
) -> None:
    rows = walked(ranks, name)
    # Exchanges are due four steps apart: told during the sixth step, sent after eight, taken up after twelve.
    expected = [0.1 * (1 - at / 20) for at in range(taken_up)]
    expected += [0.1 * (1 - at / total) for at in range(taken_up, total)]
    assert [at for at, _ in rows] == list(range(total))
    assert [rate for _, rate in rows] == pytest.approx(expected)
    for seen in (each[name] for each in ranks):
        assert seen["budget"] == total
        assert (seen["state"]["registered"], seen["state"]["total"]) == (20, total)


def test_an_exchange_carries_whole_numbers_exactly_beside_means(ranks: Seen) -> None:
    for seen in (each["carried"] for each in ranks):
        assert [numbers for numbers, _ in seen] == [[2**53 - 1, 0, 3]] * 3
        assert [means for _, means in seen] == [[], ["1.5", "nan"], ["inf", "-1.0"]]
