"""Server-sent events, decoded from bytes as they come.

httpx's ``iter_lines`` splits at every Unicode line separator, and JSON may contain U+2028 inside a string; the event
stream format knows only LF, CR and CR LF, and so does this decoder.
"""

from dataclasses import dataclass

MAX_BUFFERED_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One dispatched event."""

    event: str
    data: str
    id: str


class EventDecoder:
    """Turns chunks of bytes into events, however the network cut them."""

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        """What the service last asked for as the delay before reconnecting."""
        self._buffer = b""
        self._size = 0
        self._event = ""
        self._data: list[str] = []
        self._id = ""
        self._fresh = True

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Return the events that ``chunk`` completes.

        Raises:
            ValueError: A single event exceeds 16 MiB: this is not an event stream of ours.
        """
        self._buffer += chunk
        lines = self._complete_lines()
        self._size += sum(map(len, lines))
        if self._size + len(self._buffer) > MAX_BUFFERED_BYTES:
            raise ValueError("the event stream sent more than 16 MiB without completing an event")
        events = [self._take(line.decode("utf-8", "replace")) for line in lines]
        return [event for event in events if event is not None]

    def _complete_lines(self) -> list[bytes]:
        if self._fresh and self._buffer.startswith(b"\xef\xbb\xbf"):
            self._buffer = self._buffer[3:]
        self._fresh = self._fresh and len(self._buffer) < 3
        # A CR at the very end may be half of a CR LF: it waits for the next chunk.
        held = b"\r" if self._buffer.endswith(b"\r") else b""
        text = self._buffer[: len(self._buffer) - len(held)]
        *lines, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer = rest + held
        return lines

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_seconds = int(value) / 1000.0
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, event = "\n".join(self._data), self._event or "message"
        self._data, self._event, self._size = [], "", 0
        # An event without data still counts when it is named: `reconnect` needs to say no more.
        return ServerEvent(event, data, self._id) if data or event != "message" else None
