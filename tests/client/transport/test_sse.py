import random

import pytest
from pacesetter.transport.sse import MAX_BUFFERED_BYTES, EventDecoder, ServerEvent

STREAM = (
    "\ufeff: a comment\n"
    "retry: 3000\n"
    "\n"
    'event: segment\r\nid: 4\r\ndata: {"text":\r\ndata: "a\u2028b\x85c ü"}\r\n\r\n'
    "data:no space\rid: 5\r\r"
    ": ping\n\n"
    "event: reconnect\n\n"
    "id: never dispatched\n"
    "\n"
    "event: half\ndata: lost"
).encode()
EVENTS = [
    ServerEvent("segment", '{"text":\n"a\u2028b\x85c ü"}', "4"),
    ServerEvent("message", "no space", "5"),
    ServerEvent("reconnect", "", "5"),
]


def test_a_stream_is_read_by_its_own_rules_for_lines() -> None:
    decoder = EventDecoder()
    assert decoder.feed(STREAM) == EVENTS
    assert decoder.retry_seconds == 3.0


def test_how_the_network_cuts_the_stream_makes_no_difference() -> None:
    by_bytes = EventDecoder()
    assert [event for byte in STREAM for event in by_bytes.feed(bytes([byte]))] == EVENTS
    generator = random.Random(11)
    for _ in range(300):
        cuts = sorted(generator.sample(range(len(STREAM)), 5))
        pieces = [STREAM[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
        decoder = EventDecoder()
        assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS


def test_an_endless_event_is_refused() -> None:
    decoder = EventDecoder()
    with pytest.raises(ValueError, match="16 MiB"):
        for _ in range(MAX_BUFFERED_BYTES // (1 << 20) + 1):
            decoder.feed(b"data: " + b"x" * (1 << 20) + b"\n")
