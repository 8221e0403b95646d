"""muP of models that two ranks share or hold twice."""

from pathlib import Path

from tests.support.two_ranks import run_two_ranks


def test_sharded_and_replicated_models_train_as_the_whole_one(tmp_path: Path) -> None:
    run_two_ranks("tests.client.mup.sharded_mup", tmp_path)
