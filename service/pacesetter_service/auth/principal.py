"""Principals and scopes."""

from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["admin", "register", "job", "worker", "read"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from.

    Attributes:
        identity: Stable and free of secrets; idempotency keys are scoped by it.
        project: Where its jobs are registered, and the only project it sees.
        job: The one job it may act for; None is any job it sees.
        session: The session of that job that its token was made for.
        everywhere: It sees every project.
    """

    identity: str
    project: str
    scopes: frozenset[Scope]
    job: str | None = None
    session: str | None = None
    everywhere: bool = False

    def may(self, *needed: Scope) -> bool:
        """Whether one of the needed scopes is held; ``admin`` holds them all."""
        return "admin" in self.scopes or not self.scopes.isdisjoint(needed)


LOCAL = Principal("local", DEFAULT_PROJECT, frozenset({"admin"}), everywhere=True)
"""Everybody, where the service runs on loopback without tokens."""

ADMIN = Principal("admin", DEFAULT_PROJECT, frozenset({"admin"}), everywhere=True)
"""The holder of the admin token from the environment."""
