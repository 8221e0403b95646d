"""Projection of weights that two ranks share."""

from pathlib import Path

from tests.support.two_ranks import run_two_ranks


def test_sharded_and_replicated_weights_are_held_as_the_whole_ones(tmp_path: Path) -> None:
    run_two_ranks("tests.client.projection.sharded_projection", tmp_path)
