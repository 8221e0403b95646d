"""A run of Tune that is killed: ``python -m tests.client.integrations.interrupted URL FOLDER``."""

import os
import sys
from pathlib import Path

from pacesetter_workers.executors.cluster import Cluster, use_own_token

use_own_token()
os.environ.update(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", TUNE_GLOBAL_CHECKPOINT_S="1")


def main(url: str, folder: Path) -> None:
    """Search with two trials that wait for the file ``gate`` in the folder."""
    from pacesetter.integrations.ray_tune import PacesetterSearcher
    from ray import tune

    from tests.client.integrations.trainables import waits

    Cluster("local", 2)
    searcher = PacesetterSearcher(strategy="random", seed=8, step="step", url=url)
    tune.Tuner(
        waits,
        param_space={
            "lr": tune.loguniform(2.0**-6, 2.0**-2),
            "gate": str(folder / "gate"),
        },
        tune_config=tune.TuneConfig(metric="loss", mode="min", search_alg=searcher, num_samples=2),
        run_config=tune.RunConfig(name="run", storage_path=str(folder), verbose=0),
    ).fit()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
