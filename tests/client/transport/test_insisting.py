"""Calls that a person waits for: made again while the service is away, and no longer than asked."""

import itertools
from collections.abc import Callable

import pytest
from pacesetter import ServiceError
from pacesetter.transport.calls import Away, Denied
from pacesetter.transport.insisting import insist
from pacesetter.transport.timing import Timing

QUICK = Timing(backoff=1e-4, backoff_cap=1e-3)


def failing(failures: int, error: ServiceError) -> tuple[Callable[[], int], list[int]]:
    """Return a call that fails so many times, and where its attempts are counted."""
    numbers = itertools.count(1)
    made: list[int] = []

    def call() -> int:
        made.append(next(numbers))
        if made[-1] <= failures:
            raise error
        return made[-1]

    return call, made


@pytest.mark.parametrize("failures", [0, 1, 5])
def test_a_service_that_comes_back_answers(failures: int) -> None:
    call, made = failing(failures, Away("it answered 503", status=503))
    assert insist(call, 60.0, QUICK) == failures + 1
    assert made == list(range(1, failures + 2))


def test_after_the_time_that_was_given_the_last_failure_is_raised() -> None:
    call, made = failing(1000, Away("no connection"))
    with pytest.raises(Away, match="no connection"):
        insist(call, 0.05, QUICK)
    assert len(made) > 1


def test_a_wait_that_would_end_too_late_is_not_begun() -> None:
    call, made = failing(1, Away("it answered 503", status=503, retry_after=30.0))
    with pytest.raises(Away):
        insist(call, 5.0, QUICK)
    assert made == [1]


def test_an_answer_that_only_a_person_can_change_is_raised_at_once() -> None:
    call, made = failing(1, Denied("the token does not allow this", code="FORBIDDEN", status=403))
    with pytest.raises(Denied):
        insist(call, 60.0, QUICK)
    assert made == [1]
