"""``pacesetter-server token create|list|revoke``."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from pacesetter_service.auth.secret import load_secret
from pacesetter_service.auth.tokens import digest, new_token
from pacesetter_service.controller import Controller, ControllerOptions
from pacesetter_service.settings import Settings, SettingsError


async def create_token(
    settings: Settings,
    name: str,
    scopes: Sequence[str],
    project: str,
    expires_days: float | None = None,
) -> None:
    """Store a new token and print it: the only time that anybody sees it.

    Raises:
        SettingsError: ``expires_days`` is not a positive number of days.
    """
    expires_at = _expiry(expires_days)
    token = new_token()
    async with _open(settings) as controller:
        stored = await controller.create_token(
            hmac=digest(load_secret(settings), token),
            hint=token[-4:],
            name=name or "+".join(scopes),
            scopes=tuple(dict.fromkeys(scopes)),
            project=project,
            expires_at=expires_at,
        )
    print(token)  # noqa: T201
    _say(f"token {stored.id} ({', '.join(stored.scopes)}); this is the only time it is shown")


async def list_tokens(settings: Settings) -> None:
    """Print one line a token, newest first."""
    async with _open(settings) as controller:
        tokens = await controller.list_tokens()
    for token in tokens:
        state = "revoked" if token.revoked_at else "active"
        if token.expires_at is not None and not token.revoked_at:
            state = f"until {token.expires_at:%Y-%m-%d}"
        used = f"{token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never"
        print(  # noqa: T201
            f"{token.id}  ...{token.hint}  {token.project}  {'+'.join(token.scopes)}  "
            f"{state}  last used {used}  {token.name}"
        )


async def revoke_token(settings: Settings, token_id: str) -> None:
    """Make a token useless.

    Raises:
        NotFound: There is no such token.
    """
    async with _open(settings) as controller:
        stored = await controller.revoke_token(token_id)
    _say(f"token {stored.id} is revoked")


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Controller]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    controller = await Controller.open(settings.database, ControllerOptions(planning=False))
    try:
        yield controller
    finally:
        await controller.close()


def _expiry(days: float | None) -> datetime | None:
    if days is None:
        return None
    if not 0 < days <= 36_500:
        raise SettingsError(f"--expires-days is {days:g}; write a number above 0, up to 36500")
    return datetime.now(UTC) + timedelta(days=days)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
