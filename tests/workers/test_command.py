"""The command line: what it refuses before it takes any trial."""

from pathlib import Path

import pytest
from pacesetter_workers.cli import main

URL = ("--url", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--allow", "rm -rf"), "--allow 'rm -rf' is no entry point; expected module:function"),
        (("--allow", "module"), "is no entry point"),
        (("--data", "/nowhere/at/all"), "is no folder; expected one that holds texts"),
        (("--executor", "inline", "--slots", "3"), "has one slot, not 3"),
        (("--name", "a\nb"), "the worker cannot be called 'a\\nb'"),
        (("--gpus", "0.5"), "leave out --gpus 0.5, or take --executor ray"),
        (("--url", "ftp://host"), "expected https://host"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    status = main([*URL, "--folder", str(tmp_path), *options])

    assert status == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--slots", "0"), "0 slots cannot be; write 1 to 1024"),
        (("--gpus", "1.5"), "1.5 GPUs cannot be; write a share up to 1, or a whole number"),
        (("--executor", "threads"), "invalid choice: 'threads'"),
    ],
)
def test_an_option_that_is_none_is_told_with_the_usage(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*URL, *options])

    assert message in capsys.readouterr().err


def test_without_a_controller_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PACESETTER_URL", raising=False)

    assert main(["--folder", str(tmp_path)]) == 2
    assert "set PACESETTER_URL" in capsys.readouterr().err
