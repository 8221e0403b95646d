import json
from pathlib import Path

import pytest

from benchmarks.quality import paired

SCORES = [
    {"task": task, "contender": name, "seed": seed, "B": loss}
    for task, name, seed, loss in [
        ("one", "linear", 1, 1.0),
        ("one", "linear", 2, 2.0),
        ("one", "cosine", 1, 1.1),
        ("one", "cosine", 2, 2.2),
        ("one", "cosine", 3, 9.0),
        ("two", "linear", 1, 1.0),
        ("two", "rex", 1, 0.5),
    ]
]


def test_gaps_are_paired_by_seed_and_bold_where_they_are_clear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"scores": SCORES}))
    paired.main(["linear", str(file)])

    assert capsys.readouterr().out.splitlines() == [
        "| contender | one | two |",
        "| --- | ---: | ---: |",
        "| linear |  |  |",
        "| cosine | **+10.0 ± 0.0** |  |",
        "| rex |  | -50.0 |",
    ]


def test_a_name_that_took_part_nowhere_is_told() -> None:
    with pytest.raises(ValueError, match="nobody is called 'wsd'; there are: linear; cosine; rex"):
        paired.table(paired.losses_of({"scores": SCORES}), "wsd")
