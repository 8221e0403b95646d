"""Texts as the controller takes them."""

from pacesetter.protocol.trials import MAX_ERROR


def bounded(text: str) -> str:
    """Return the end of a text, where the exception of a traceback stands, as a controller takes it."""
    clean = text.replace("\0", "\\0")
    return clean if len(clean) <= MAX_ERROR else f"[...]\n{clean[6 - MAX_ERROR :]}"
