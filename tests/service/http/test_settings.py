import os
import stat
import threading
from pathlib import Path

import pytest
from pacesetter_service.auth.secret import FILE_NAME, load_secret
from pacesetter_service.settings import Settings, SettingsError, shown_url


def test_defaults_are_loopback_and_a_sqlite_file_in_the_home_directory() -> None:
    settings = Settings.from_environment({})
    assert settings.host == "127.0.0.1"
    assert settings.on_loopback
    assert settings.data_dir == Path.home() / ".local" / "share" / "pacesetter"
    assert settings.database == f"sqlite:///{settings.data_dir}/pacesetter.db"


def test_the_environment_sets_everything(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "PACESETTER_HOST": "0.0.0.0",
            "PACESETTER_PORT": "9000",
            "PACESETTER_DATA_DIR": str(tmp_path),
            "PACESETTER_DATABASE_URL": "postgresql://u:p@h/d",
            "PACESETTER_ADMIN_TOKEN": "t" * 16,
            "PACESETTER_SECRET": "s" * 32,
            "PACESETTER_ALLOWED_HOSTS": "Box.local, other",
            "PACESETTER_LOG_FORMAT": "json",
            "PACESETTER_MAX_BODY_BYTES": "2048",
            "PACESETTER_LEASE_SECONDS": "15",
        }
    )
    assert (settings.host, settings.port, settings.max_body_bytes) == ("0.0.0.0", 9000, 2048)
    assert settings.lease_seconds == 15
    assert settings.allowed_hosts == {"box.local", "other"}
    assert settings.database == "postgresql://u:p@h/d"
    assert not settings.on_loopback
    assert "t" * 16 not in repr(settings)
    assert "s" * 32 not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PACESETTER_PORT", "http", "whole number from 0 to 65535"),
        ("PACESETTER_PORT", "70000", "whole number from 0 to 65535"),
        ("PACESETTER_LEASE_SECONDS", "0", "whole number from 1 to 3600"),
        ("PACESETTER_ADMIN_TOKEN", "short", "at least 16"),
        ("PACESETTER_SECRET", "s p a c e s " * 9, "without spaces"),
        ("PACESETTER_LOG_FORMAT", "xml", "console or json"),
        ("PACESETTER_LOG_LEVEL", "loud", "debug, info"),
    ],
)
def test_a_bad_variable_is_named_with_what_to_write(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        Settings.from_environment({name: value})
    assert name in str(caught.value)


def test_a_bad_secret_is_not_repeated_in_the_message() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"PACESETTER_SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_addresses_are_recognised(host: str) -> None:
    assert Settings(host=host).on_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.com", ""])
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not Settings(host=host).on_loopback


def test_a_shown_url_has_no_password() -> None:
    assert shown_url("postgresql://me:pw@host:1/db?password=pw") == "postgresql://host:1/db"
    assert shown_url("sqlite:////data/p.db") == "sqlite:////data/p.db"


def test_the_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    first = load_secret(settings)
    assert len(first) == 64
    assert load_secret(settings) == first
    assert stat.S_IMODE((tmp_path / "new" / FILE_NAME).stat().st_mode) == 0o600


def test_many_starts_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        found.append(load_secret(Settings(data_dir=tmp_path)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_configured_secret_needs_no_file(tmp_path: Path) -> None:
    assert load_secret(Settings(data_dir=tmp_path / "x", secret="s" * 40)) == b"s" * 40
    assert not (tmp_path / "x").exists()


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_secret(Settings(data_dir=tmp_path))
    (tmp_path / FILE_NAME).chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_secret(Settings(data_dir=tmp_path))


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / FILE_NAME, os.O_CREAT | os.O_WRONLY, 0o600)
    os.close(descriptor)
    with pytest.raises(SettingsError, match="holds 0 characters"):
        load_secret(Settings(data_dir=tmp_path))


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="PACESETTER_DATA_DIR"):
        load_secret(Settings(data_dir=tmp_path / "file" / "below"))
