from dataclasses import replace
from random import Random

import pytest
from pacesetter.protocol import Segment
from pacesetter.transport import HttpTransport
from pacesetter.transport.timing import Backoff

from tests.client.transport.conftest import OpenTransport
from tests.client.transport.fake_service import FakeService
from tests.client.transport.samples import (
    QUICK,
    eventually,
    make_segment,
    make_spec,
    measured,
)


def next_seq(transport: HttpTransport) -> int:
    assert transport.wait(20.0)
    segment = transport.receive()
    assert isinstance(segment, Segment)
    return segment.seq


def test_segments_come_by_stream_without_any_report(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    for seq in range(1, 4):
        service.add_segment(make_segment(seq))
        assert next_seq(transport) == seq
    assert not service.bodies


def test_a_stream_that_ends_is_resumed_behind_the_last_segment(
    service: FakeService, open_http: OpenTransport
) -> None:
    service.stream_mode = "brief"
    transport = open_http()
    transport.register(make_spec(), 10.0)
    for seq in range(1, 6):
        service.add_segment(make_segment(seq))
        assert next_seq(transport) == seq
    eventually(lambda: service.streams_opened[-1] == "5")
    assert service.polls == []
    assert transport.receive() is None


def test_the_stream_comes_back_after_the_service_was_away(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.add_segment(make_segment(1))
    assert next_seq(transport) == 1
    service.stop()
    service.add_segment(make_segment(2))
    service.start()
    assert next_seq(transport) == 2
    assert service.polls == [], "an outage is no reason to give up streaming"


def test_a_report_that_gets_through_ends_the_streams_wait(
    service: FakeService, open_http: OpenTransport
) -> None:
    """However long the stream has backed off: what was decided meanwhile is not to wait for it."""
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.add_segment(make_segment(1))
    assert next_seq(transport) == 1
    follower = transport._follower
    assert follower is not None
    follower._backoff = Backoff(3600.0, 3600.0, generator=Random(3))
    service.stop()
    eventually(lambda: follower._backoff.attempt > 0)
    service.start()
    transport.send(measured())
    transport.flush()
    eventually(lambda: service.bodies)
    service.add_segment(make_segment(2))
    assert next_seq(transport) == 2


@pytest.mark.parametrize("mode", ["silent", "page"])
def test_polling_takes_over_where_the_stream_brings_nothing_and_streaming_is_tried_again(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    service.stream_mode = mode
    transport = open_http(replace(QUICK, stream_idle_timeout=0.2))
    transport.register(make_spec(), 10.0)
    service.add_segment(make_segment(1))
    assert next_seq(transport) == 1
    assert service.polls, "the segment came by long poll"
    # Said once, however often the stream is tried in vain. Later, a slow machine may make it true once more.
    assert caplog.text.count("polling instead") == 1
    streams = len(service.streams_opened)
    service.stream_mode = "ok"
    eventually(lambda: len(service.streams_opened) > streams)
    service.add_segment(make_segment(2))
    assert next_seq(transport) == 2
    eventually(lambda: "stream of segments works again" in caplog.text)


def test_a_follower_ends_at_once_when_the_transport_closes(
    service: FakeService, open_http: OpenTransport
) -> None:
    service.stream_mode = "silent"
    transport = open_http(replace(QUICK, stream_idle_timeout=1000.0))
    transport.register(make_spec(), 10.0)
    eventually(lambda: service.streams_opened)
    follower = transport._follower
    assert follower is not None
    eventually(lambda: follower._response is not None)
    transport.close(5.0)
    for thread in transport._threads:
        assert thread.join(10.0)
