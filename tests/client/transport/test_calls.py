"""How the service is reached, and what becomes of each kind of answer."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pacesetter.transport.calls import Away, Calls, Denied, Rejected, _failure, read_segments

from tests.client.transport.fake_service import FakeService
from tests.client.transport.samples import QUICK, make_segment, make_spec

SPEC = make_spec().model_dump(mode="json", by_alias=True)
CERTIFICATE = Path(__file__).parent / "loopback.pem"
"""Self-signed for 127.0.0.1, with its key; valid until 2126."""

OpenCalls = Callable[..., Calls]


@pytest.fixture
def open_calls() -> Iterator[OpenCalls]:
    opened: list[Calls] = []

    def open_one(url: str, token: str | None = None) -> Calls:
        opened.append(Calls(lambda: url, token, QUICK))
        return opened[-1]

    yield open_one
    for calls in opened:
        calls.close()


def answer(status: int, content: bytes = b"", **headers: str) -> httpx.Response:
    request = httpx.Request("POST", "https://pace.example/v1/jobs")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=content, headers=sent, request=request)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Denied),
        (403, Denied),
        (404, Denied),
        (405, Denied),
        (408, Away),
        (409, Rejected),
        (410, Denied),
        (413, Rejected),
        (422, Rejected),
        (425, Away),
        (429, Away),
        (301, Denied),
        (500, Away),
        (502, Away),
        (503, Away),
        (504, Away),
    ],
)
def test_answers_are_sorted_by_what_can_be_done(status: int, kind: type[Exception]) -> None:
    assert type(_failure(answer(status, b"<html>not a problem document</html>"))) is kind


def test_a_conflict_that_names_a_delay_is_tried_again() -> None:
    failure = _failure(answer(409, Retry_After="1"))
    assert isinstance(failure, Away)
    assert failure.retry_after == 1.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("nan", None),
    ],
)
def test_retry_after_is_read_where_it_is_a_number(header: str, seconds: float | None) -> None:
    failure = _failure(answer(503, Retry_After=header))
    assert isinstance(failure, Away)
    assert failure.retry_after == seconds


def test_a_redirect_says_where_to_and_what_to_do() -> None:
    failure = _failure(answer(308, Location="https://new.example/"))
    assert "https://new.example/" in str(failure)
    assert "PACESETTER_URL" in str(failure)


def test_redirects_are_not_followed_with_the_token(
    service: FakeService, open_calls: OpenCalls
) -> None:
    thief = FakeService()
    thief.start()
    try:
        service.answer_everything = (307, {"Location": f"{thief.url}/v1/jobs"})
        with pytest.raises(Denied):
            open_calls(service.url, "pst_secret").register(SPEC)
        assert thief.requests == []
    finally:
        thief.stop()


def test_a_page_instead_of_a_reply_is_named(service: FakeService, open_calls: OpenCalls) -> None:
    service.answer_everything = (200, {})
    calls = open_calls(service.url)
    with pytest.raises(Denied, match="not a Registration") as raised:
        calls.register(SPEC)
    assert raised.value.code == "NOT_A_SERVICE"


def test_certificates_are_checked(service: FakeService, open_calls: OpenCalls) -> None:
    _serve_https(service)
    with pytest.raises(Away, match="CERTIFICATE_VERIFY_FAILED"):
        open_calls(service.url).register(SPEC)


def test_an_own_certificate_authority_is_honoured(
    service: FakeService, open_calls: OpenCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve_https(service)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    registration, unreadable = open_calls(service.url).register(SPEC)
    assert (registration.job, unreadable) == ("job-1", [])


def test_the_proxy_of_the_environment_is_used(
    service: FakeService, open_calls: OpenCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", service.url)
    monkeypatch.delenv("no_proxy", raising=False)
    registration, _ = open_calls("http://pace.invalid").register(SPEC)
    assert registration.job == "job-1"
    assert service.requests[0][1]["host"] == "pace.invalid"


def test_a_moved_service_is_looked_for_again(service: FakeService) -> None:
    places = ["http://127.0.0.1:1", service.url]
    calls = Calls(lambda: places.pop(0), None, QUICK)
    with pytest.raises(Away):
        calls.register(SPEC)
    assert calls.register(SPEC)[0].job == "job-1"
    assert calls.register(SPEC)[0].job == "job-1"
    calls.close()


def test_what_is_no_segment_at_all_is_passed_over() -> None:
    good = make_segment(3).model_dump(mode="json", by_alias=True)
    junk: list[object] = [
        None,
        7,
        [],
        {},
        {"seq": "x"},
        {"seq": 0},
        {"seq": 2, "after": None},
        good,
    ]
    assert [arrival.seq for arrival in read_segments(junk)] == [3]
    assert read_segments({"not": "a list"}) == []


def _serve_https(service: FakeService) -> None:
    service.stop()
    service.certificate = CERTIFICATE
    service.start()
