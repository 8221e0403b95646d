"""From an Authorization header to a principal."""

import hmac
from collections.abc import Iterable

from pacesetter_service.auth.principal import ADMIN, DEFAULT_PROJECT, SCOPES, Principal, Scope
from pacesetter_service.auth.tokens import JOB_PREFIX, digest, is_well_formed, session_of
from pacesetter_service.controller import Controller
from pacesetter_service.settings import Settings, SettingsError
from pacesetter_service.views import StoredToken


class Authenticator:
    """Knows which tokens are good. Without ``required`` everybody who reaches the service is one local person."""

    def __init__(
        self, controller: Controller, secret: bytes, admin_token: str | None, *, required: bool
    ) -> None:
        self.controller = controller
        self.secret = secret
        self.required = required
        # Digests have one length, so comparing them tells nothing about the token's.
        self._admin_digest = None if admin_token is None else digest(secret, admin_token)

    async def principal(self, token: str, job: str | None) -> Principal | None:
        """Return who holds ``token``, None if it is not good.

        Args:
            token: The bearer token of the request.
            job: The job that the path names; a job's own token is good for that one only.
        """
        if token.startswith(JOB_PREFIX):
            session = session_of(self.secret, token, job) if job is not None else None
            if job is None or session is None:
                return None
            identity = f"job:{job}"
            return Principal(identity, DEFAULT_PROJECT, frozenset({"job"}), job, session)
        found = digest(self.secret, token)
        if self._admin_digest is not None and hmac.compare_digest(found, self._admin_digest):
            return ADMIN
        if not is_well_formed(token):
            return None
        stored = await self.controller.find_token(found)
        return None if stored is None else _stored_principal(stored)


async def open_authenticator(
    settings: Settings, controller: Controller, secret: bytes
) -> Authenticator:
    """Return the authenticator that the settings and the stored tokens call for.

    Raises:
        SettingsError: The address is not loopback and there is no admin token to get in with.
    """
    active = [t for t in await controller.list_tokens() if t.revoked_at is None]
    has_admin = settings.admin_token is not None or any("admin" in t.scopes for t in active)
    if not settings.on_loopback and not has_admin:
        raise SettingsError(
            f"{settings.host} can be reached from other machines, and there is no admin token: set "
            "PACESETTER_ADMIN_TOKEN, or make one with `pacesetter-server token create --scope admin`, "
            "or listen on 127.0.0.1"
        )
    required = not settings.on_loopback or settings.admin_token is not None or bool(active)
    return Authenticator(controller, secret, settings.admin_token, required=required)


def known_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes among ``words``; a word of a newer release grants nothing."""
    held = set(words)
    return frozenset(scope for scope in SCOPES if scope in held)


def _stored_principal(token: StoredToken) -> Principal:
    return Principal(f"token:{token.id}", token.project, known_scopes(token.scopes))
