"""The form of tokens: recognisable by a prefix and a checksum, stored only as an HMAC.

``pace_`` + 37 random alphanumerics + 6 of CRC32 is a token that somebody created; a secret scanner finds it, and a
mistyped one is refused without a look into the database. ``pacejob_<session>_<mac>`` is a job's: it is derived from the
server's secret, the job and the session, so nothing about it is stored.
"""

import hashlib
import hmac
import secrets
import string
import zlib

PREFIX = "pace_"
JOB_PREFIX = "pacejob_"
RANDOM_CHARACTERS = 37
"""37 of 62 characters are 220 bits."""
CHECKSUM_CHARACTERS = 6
"""62**6 exceeds 2**32, so six base-62 digits hold every CRC32."""

_ALPHABET = string.ascii_letters + string.digits


def new_token() -> str:
    """Return a fresh random token."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return f"{PREFIX}{body}{_checksum(body)}"


def is_well_formed(token: str) -> bool:
    """Whether ``token`` could have come from :func:`new_token`: prefix, length and checksum agree."""
    body = token.removeprefix(PREFIX)
    if body == token or len(body) != RANDOM_CHARACTERS + CHECKSUM_CHARACTERS or not body.isascii():
        return False
    return hmac.compare_digest(_checksum(body[:RANDOM_CHARACTERS]), body[RANDOM_CHARACTERS:])


def digest(secret: bytes, token: str) -> str:
    """Return what is stored of a token: its HMAC-SHA256 in hexadecimal."""
    return hmac.new(secret, b"token\0" + token.encode(), hashlib.sha256).hexdigest()


def job_token(secret: bytes, job: str, session: str) -> str:
    """Return the token of one session of one job; the same every time."""
    return f"{JOB_PREFIX}{session}_{_job_mac(secret, job, session)}"


def session_of(secret: bytes, token: str, job: str) -> str | None:
    """Return the session of ``job`` that ``token`` was derived for, None if it was not."""
    session, separator, mac = token.removeprefix(JOB_PREFIX).rpartition("_")
    if not separator or not session:
        return None
    good = hmac.compare_digest(_job_mac(secret, job, session).encode(), mac.encode())
    return session if good else None


def _job_mac(secret: bytes, job: str, session: str) -> str:
    # NUL separates the parts: neither id can hold one, so no two pairs give the same message.
    message = b"\0".join((b"job", job.encode(), session.encode()))
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_CHARACTERS):
        value, digit = divmod(value, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
