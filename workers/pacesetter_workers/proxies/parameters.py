"""Parameters of a trial, read with what is expected of each."""

import math
from collections.abc import Mapping, Sequence

from pacesetter.protocol import Value

from pacesetter_workers.errors import ParameterRefused


class Parameters:
    """Reads values one by one, then refuses what nobody has read: a misspelt name would change nothing, silently."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values
        self._read: set[str] = set()

    def number(
        self,
        name: str,
        default: float | None = None,
        *,
        low: float = -math.inf,
        high: float = math.inf,
    ) -> float:
        """Return a finite number in ``[low, high]``.

        Raises:
            ParameterRefused: It is something else, or missing without a default.
        """
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ParameterRefused(f"{name} is {value!r}; expected a number")
        if not low <= value <= high:
            raise ParameterRefused(f"{name} is {value!r}; expected {_between(low, high)}")
        return float(value)

    def positive(self, name: str, default: float | None = None) -> float:
        """Return a number above 0.

        Raises:
            ParameterRefused: It is something else, or missing without a default.
        """
        value = self.number(name, default)
        if value <= 0.0:
            raise ParameterRefused(f"{name} is {value:g}; expected a number above 0")
        return value

    def count(self, name: str, default: int | None = None, *, low: int = 1) -> int:
        """Return a whole number of at least ``low``; 64.0 counts as 64, as a search over a range may write it.

        Raises:
            ParameterRefused: It is something else, or missing without a default.
        """
        value = self.number(name, default)
        if not value.is_integer() or value < low:
            raise ParameterRefused(f"{name} is {value:g}; expected a whole number of {low} or more")
        return int(value)

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """Return one of the texts that are ``allowed``.

        Raises:
            ParameterRefused: It is something else.
        """
        value = self._value(name, default)
        if value not in allowed or not isinstance(value, str):
            raise ParameterRefused(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a text.

        Raises:
            ParameterRefused: It is something else.
        """
        value = self._value(name, default)
        if not isinstance(value, str):
            raise ParameterRefused(f"{name} is {value!r}; expected a text")
        return value

    def flag(self, name: str) -> bool:
        """Return whether something is asked for; it is not where nobody says so.

        Raises:
            ParameterRefused: It is neither true nor false.
        """
        value = self._value(name, False)
        if not isinstance(value, bool):
            raise ParameterRefused(f"{name} is {value!r}; expected true or false")
        return value

    def finish(self, proxy: str) -> None:
        """Refuse what was not read.

        Raises:
            ParameterRefused: Something was not.
        """
        unknown = sorted(self._values.keys() - self._read)
        if unknown:
            raise ParameterRefused(
                f"{proxy} has no parameter {', '.join(map(repr, unknown))}; it takes {', '.join(sorted(self._read))}"
            )

    def _value(self, name: str, default: Value | None) -> Value:
        self._read.add(name)
        if name in self._values:
            return self._values[name]
        if default is None:
            raise ParameterRefused(
                f"{name} is missing; give it in `fixed` or in the `space` of the experiment"
            )
        return default


def _between(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} or more"
    return f"at most {high:g}" if math.isinf(low) else f"{low:g} to {high:g}"
