"""The command line: what it refuses before it takes any trial."""

import subprocess
import sys
from pathlib import Path

import pytest
from pacesetter_workers.cli import main

from tests.faults.harness import ControllerProcess

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
        (
            ("--jobs", "--executor", "ray", "--ray-address", "auto"),
            "trials on other machines cannot register at http://127.0.0.1:9",
        ),
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


@pytest.mark.faults
def test_a_token_that_registers_no_job_is_told_before_any_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller = ControllerProcess(tmp_path / "controller", PACESETTER_ADMIN_TOKEN="a" * 32)
    command = [sys.executable, "-m", "pacesetter_service.cli", "token", "create"]
    command += ["--data-dir", str(controller.folder), "--scope", "worker"]
    made = {
        scopes: subprocess.run(
            [*command, *scopes], capture_output=True, text=True, check=True
        ).stdout.strip()
        for scopes in ((), ("--scope", "register"))
    }
    controller.start()
    try:
        options = ["--url", controller.url, "--folder", str(tmp_path), "--jobs"]
        options += ["--executor", "inline", "--idle-exit", "0"]
        assert main([*options, "--token", made[()]]) == 2
        assert "--scope worker --scope register" in capsys.readouterr().err
        assert main([*options, "--token", made["--scope", "register"]]) == 0
    finally:
        controller.stop()
