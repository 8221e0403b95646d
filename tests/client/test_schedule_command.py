"""``pacesetter schedule``, as it is called from a shell."""

import csv
import io
import json
from pathlib import Path

import pytest
from pacesetter.cli import main
from pacesetter.schedules import KNOWN_FAMILIES, WSD, Schedule, Warmup, parse_schedule

Captured = pytest.CaptureFixture[str]


def test_all_families_are_listed_with_their_tiers(capsys: Captured) -> None:
    assert main(["schedule", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(KNOWN_FAMILIES)
    assert {line.split()[1] for line in lines} == {"recommended", "supported", "experimental"}


def test_a_family_is_shown_as_numbers_with_the_rates_of_a_base(capsys: Captured) -> None:
    words = ["wsd", "cooldown=.2", "--steps", "1000", "--warmup", "50", "--lr", "3e-4"]
    assert main(["schedule", "show", *words, "--rows", "6", "--format", "csv"]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["position", "multiplier", "lr"]
    schedule = Schedule(length=1000, warmup=Warmup(length=50), body=WSD(cooldown=0.2))
    assert [int(row[0]) for row in rows] == [0, 200, 400, 600, 800, 1000]
    for position, multiplier, lr in rows:
        assert float(multiplier) == schedule.at(int(position))
        assert float(lr) == pytest.approx(3e-4 * schedule.at(int(position)))


def test_what_is_shown_as_json_can_be_read_back(capsys: Captured, tmp_path: Path) -> None:
    assert main(["schedule", "show", "rex", "d=0.9", "--peak", "2", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    schedule = parse_schedule(shown["schedule"])
    assert schedule.peak == 2.0
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(shown["schedule"]))
    assert main(["schedule", "show", str(file), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == shown


def test_a_law_in_learning_rates_is_shown_at_its_published_peak(capsys: Captured) -> None:
    words = ["power", "batch_tokens=4194304", "clock=tokens", "--steps", "20000000000"]
    assert main(["schedule", "show", *words, "--rows", "3", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["columns"] == ["position", "lr"]
    assert shown["schedule"]["unit"] == "absolute"


def test_a_schedule_is_drawn_with_characters(capsys: Captured) -> None:
    assert main(["schedule", "plot", "linear"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("linear")
    columns = [line[12:] for line in out.splitlines()[1:13]]
    filled = [line.count("#") for line in columns]
    assert filled == sorted(filled)
    assert filled[0] in range(4, 8)
    assert filled[-1] == 64


def test_a_schedule_is_drawn_into_a_file(capsys: Captured, tmp_path: Path) -> None:
    assert main(["schedule", "plot", "cosine", "--output", str(tmp_path / "cosine.png")]) == 0
    assert (tmp_path / "cosine.png").read_bytes().startswith(b"\x89PNG")
    assert "cosine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "wsdd"], "'wsdd' is no file and no family; families are constant, cosine"),
        (["show", "wsd", "cooldown"], "'cooldown' is no parameter; write name=value"),
        (
            ["show", "wsd", "cooldown=7"],
            "body.wsd.cooldown: Input should be less than or equal to 1",
        ),
        (["show", "wsd", "--rows", "1"], "--rows 1 is too few"),
        (["show", "missing.json"], "missing.json cannot be read"),
        (["show", "linear", "--steps", "10", "--warmup", "10"], "shorten the warm-up"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    words: list[str], message: str, capsys: Captured
) -> None:
    assert main(["schedule", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_file_takes_no_parameters_beside_it(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"length": 10, "body": {"family": "linear"}}))
    assert main(["schedule", "show", str(file), "--steps", "20"]) == 2
    assert "--steps: a schedule from a file is whole" in capsys.readouterr().err
