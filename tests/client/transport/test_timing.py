import random

from pacesetter.transport.timing import Backoff, Timing


def test_backoff_doubles_up_to_its_cap_with_full_jitter() -> None:
    backoff = Backoff(0.5, 30.0, random.Random(1))
    ceilings = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0] + [30.0] * 2000
    delays = [backoff.delay() for _ in ceilings]
    assert all(0.0 <= delay <= ceiling for delay, ceiling in zip(delays, ceilings, strict=True))
    capped = delays[6:]
    assert max(capped) > 29.5
    assert min(capped) < 0.5
    assert 14.0 < sum(capped) / len(capped) < 16.0


def test_backoff_starts_over_after_a_success() -> None:
    backoff = Backoff(0.5, 30.0, random.Random(2))
    for _ in range(50):
        backoff.delay()
    backoff.reset()
    assert backoff.delay() <= 0.5


def test_retry_after_is_the_least_delay_and_has_a_bound() -> None:
    backoff = Backoff(0.5, 30.0, random.Random(3))
    assert backoff.delay(retry_after=45.0) == 45.0
    assert backoff.delay(retry_after=86_400.0) == 300.0
    assert 0.0 <= backoff.delay(retry_after=0.0) <= 2.0


def test_the_defaults_are_those_that_were_promised() -> None:
    timing = Timing()
    assert (timing.batch_seconds, timing.batch_records) == (0.5, 200)
    assert (timing.backoff_cap, timing.stream_idle_timeout) == (30.0, 45.0)
    assert timing.report_records <= 1000
