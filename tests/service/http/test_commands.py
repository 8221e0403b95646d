import socket
from pathlib import Path

import pytest
from pacesetter_service.cli import main
from pacesetter_service.commands.migrate import migrate
from pacesetter_service.commands.serve import serve
from pacesetter_service.commands.token import create_token, list_tokens, revoke_token
from pacesetter_service.errors import NotFound
from pacesetter_service.settings import Settings, SettingsError


async def test_tokens_are_created_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path)
    await create_token(settings, "grafana", ["read", "read"], "default", 30.0)
    token, said = capsys.readouterr()
    assert "only time" in said
    await list_tokens(settings)
    listed = capsys.readouterr().out
    assert "grafana" in listed
    assert "  read  until " in listed
    assert token.strip() not in listed + said
    await revoke_token(settings, listed.split()[0])
    await list_tokens(settings)
    assert "revoked" in capsys.readouterr().out
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert token.strip().encode() not in stored


async def test_revoking_an_unknown_token_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await revoke_token(Settings(data_dir=tmp_path), "nothing")


@pytest.mark.parametrize("days", [0.0, -1.0, float("nan"), 1e9])
async def test_a_token_expires_within_reason_or_never(tmp_path: Path, days: float) -> None:
    with pytest.raises(SettingsError, match="expires-days"):
        await create_token(Settings(data_dir=tmp_path), "", ["read"], "default", days)
    assert not (tmp_path / "pacesetter.db").exists()


async def test_migrate_makes_the_database(tmp_path: Path) -> None:
    await migrate(Settings(data_dir=tmp_path / "new"))
    assert (tmp_path / "new" / "pacesetter.db").exists()


async def test_a_public_address_without_a_token_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PACESETTER_ADMIN_TOKEN"):
        await serve(Settings(host="0.0.0.0", port=0, data_dir=tmp_path))


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port}"):
            await serve(Settings(port=port, data_dir=tmp_path))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required"),
        (["fly"], "invalid choice"),
        (["serve", "--port", "70000"], "70000 is not a port"),
        (["token", "create"], "--scope"),
        (["token", "create", "--scope", "god"], "invalid choice"),
    ],
)
def test_a_wrong_command_line_is_explained(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("pacesetter-server ")
