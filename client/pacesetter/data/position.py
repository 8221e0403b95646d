"""Where a source stands, as a document."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import torch

from pacesetter.errors import StateMismatch

VERSION = 1


@dataclass(frozen=True, slots=True)
class DataPosition:
    """A place in the stream of batches."""

    seed: int
    """Seed of the data pipeline's random state."""
    epoch: int
    batch: int
    """Batches of the epoch that were handed out before this place."""
    epoch_batches: int | None = None
    """Batches in an epoch, where the loader knows it."""
    generators: tuple[bytes, ...] = ()
    """States, at the start of the epoch, of the ``torch.Generator`` objects that the loader was given."""
    loader: Any = None
    """The loader's own state, where it has one."""
    generators_here: tuple[bytes, ...] = ()
    """With ``loader``: states of the generators at this place."""

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values, apart from the loader's own state."""
        return {
            "version": VERSION,
            "seed": self.seed,
            "epoch": self.epoch,
            "batch": self.batch,
            "epoch_batches": self.epoch_batches,
            "generators": _encoded(self.generators),
            "loader": self.loader,
            "generators_here": _encoded(self.generators_here),
        }

    @classmethod
    def from_document(cls, document: Any) -> "DataPosition":
        """Read what ``to_document`` wrote.

        Raises:
            StateMismatch: It is not such a document.
        """
        try:
            if document["version"] != VERSION:
                raise ValueError(f"version {document['version']!r}")
            position = cls(
                seed=int(document["seed"]),
                epoch=int(document["epoch"]),
                batch=int(document["batch"]),
                epoch_batches=document.get("epoch_batches"),
                generators=_decoded(document["generators"]),
                loader=document.get("loader"),
                generators_here=_decoded(document.get("generators_here", [])),
            )
            if position.epoch < 0 or position.batch < 0:
                raise ValueError(f"epoch {position.epoch}, batch {position.batch}")
        except (TypeError, KeyError, ValueError, binascii.Error) as error:
            raise StateMismatch(
                f"this is not a position in the data ({type(error).__name__}: {error}); expected the document that "
                f"state_dict() or mark() returned, version {VERSION}. Pass that one, or start without it"
            ) from error
        return position

    def scaled_to(self, epoch_batches: int | None) -> int:
        """Return the batch number at the same share of an epoch that now has ``epoch_batches`` batches."""
        if not epoch_batches or not self.epoch_batches or epoch_batches == self.epoch_batches:
            return self.batch
        return min(round(self.batch * epoch_batches / self.epoch_batches), epoch_batches)


def _encoded(states: tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(state).decode() for state in states]


def _decoded(states: list[str]) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(state, validate=True) for state in states)


def generator_state(generator: torch.Generator) -> bytes:
    """Return a generator's state as bytes."""
    return bytes(generator.get_state().numpy().tobytes())


def set_generator_state(generator: torch.Generator, state: bytes) -> None:
    """Put a generator into a state from ``generator_state``.

    Raises:
        StateMismatch: The state is of another kind of generator.
    """
    try:
        generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    except (RuntimeError, TypeError, ValueError) as error:
        raise StateMismatch(
            f"the state of the loader's generator does not fit ({error}); "
            "give the loader a generator on the same device as when the state was written"
        ) from error
