"""Two processes that are the ranks of one training."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_two_ranks(script: str, folder: Path, seconds: float = 120.0) -> None:
    """Run a module as rank 0 and rank 1, given their rank and where they meet, and fail if one of them does."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", script, str(rank), str(folder / "rendezvous")],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    try:
        complaints = [rank.communicate(timeout=seconds)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(complaints)
