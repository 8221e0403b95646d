"""Results by address, in one SQLite file, so that every sweep goes on where it was stopped."""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DEFAULT_FOLDER = Path(".cache/quality")


class Cache:
    """Results as JSON. Several processes may use one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(folder / "results.db", timeout=60.0)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS results (address TEXT PRIMARY KEY, about TEXT, result TEXT)"
        )

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def find(self, addresses: Iterable[str]) -> dict[str, Any]:
        """Return the results that are there, by address."""
        found = {}
        for address in addresses:
            row = self._database.execute(
                "SELECT result FROM results WHERE address = ?", (address,)
            ).fetchone()
            if row is not None:
                found[address] = json.loads(row[0])
        return found

    def keep(self, address: str, about: str, result: Any) -> None:
        """Store a result; ``about`` is a line for people who open the file."""
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?)",
                (address, about, json.dumps(result)),
            )

    def __len__(self) -> int:
        count: int = self._database.execute("SELECT count(*) FROM results").fetchone()[0]
        return count
