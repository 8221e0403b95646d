"""The bounded buffer: overflow, marks, memory."""

import logging
from typing import Any

import pytest
from pacesetter.data import open_source
from pacesetter.data.buffered import BufferedSource
from pacesetter.errors import ConfigurationError, StateMismatch

from tests.client.data.sources import Finite, numbers


def opened(capacity: int, length: int = 10) -> BufferedSource:
    source = open_source(Finite(length), buffer_batches=capacity)
    assert isinstance(source, BufferedSource)
    return source


def take(source: BufferedSource, count: int, *, probe: bool = False) -> list[int]:
    return numbers([source.next(probe=probe) for _ in range(count)])


def unpaired(source: BufferedSource) -> bool:
    # A call, because mypy takes a property to stay what an assertion said it is.
    return source.unpaired


def test_a_probe_longer_than_the_buffer_gets_the_buffer_again_and_takes_nothing_from_main() -> None:
    source = opened(4)
    assert take(source, 8) == list(range(8))
    mark = source.mark()
    assert take(source, 4, probe=True) == [8, 9, 10, 11]
    assert not unpaired(source)
    assert take(source, 5, probe=True) == [8, 9, 10, 11, 8]
    assert unpaired(source)
    source.rewind(mark)
    assert not unpaired(source)
    source.release(mark)
    assert take(source, 10) == list(range(8, 18))
    assert source.buffered == 0


def test_without_a_buffer_a_probe_is_fed_from_the_loader_and_is_unpaired() -> None:
    source = opened(0)
    assert source.rewind_batches == 0
    take(source, 3)
    mark = source.mark()
    source.rewind(mark)
    assert not unpaired(source)
    assert take(source, 2, probe=True) == [3, 4]
    assert unpaired(source)
    source.rewind(mark)
    assert take(source, 2) == [5, 6]


def test_the_main_line_never_repeats_a_batch_while_old_marks_live() -> None:
    source = opened(4)
    mark = source.mark()
    assert take(source, 30) == list(range(30))
    assert source.buffered == 4
    source.rewind(mark)
    assert unpaired(source)
    assert take(source, 6) == [26, 27, 28, 29, 30, 31]


def test_a_rolling_mark_within_reach_is_exact_and_releasing_it_frees_the_buffer() -> None:
    source = opened(8)
    take(source, 5)
    older = source.mark()
    take(source, 3)
    newer = source.mark()
    take(source, 2)
    assert source.buffered == 5
    source.release(older)
    assert source.buffered == 2
    source.rewind(newer)
    assert take(source, 4) == [8, 9, 10, 11]
    assert not unpaired(source)
    source.release(newer)
    assert source.buffered == 0


def test_a_probe_needing_room_takes_it_from_marks_before_the_main_line() -> None:
    source = opened(4)
    rolling = source.mark()
    take(source, 3)
    left = source.mark()
    assert take(source, 4, probe=True) == [3, 4, 5, 6]
    assert not unpaired(source)
    source.rewind(left)
    assert take(source, 6) == [3, 4, 5, 6, 7, 8]
    source.rewind(rolling)
    assert unpaired(source)


def test_a_probe_continued_from_a_probes_end_keeps_what_the_main_line_still_needs() -> None:
    source = opened(4)
    main = source.mark()
    take(source, 3, probe=True)
    source.mark()
    assert take(source, 3, probe=True) == [3, 3, 3]
    assert unpaired(source)
    source.rewind(main)
    assert take(source, 5) == [0, 1, 2, 3, 4]


def test_a_probe_from_an_older_checkpoint_sees_its_batches_and_the_main_line_goes_on() -> None:
    source = opened(6)
    old = source.mark()
    take(source, 2)
    main = source.mark()
    source.rewind(old)
    assert take(source, 5, probe=True) == [0, 1, 2, 3, 4]
    source.rewind(main)
    assert take(source, 5) == [2, 3, 4, 5, 6]


def test_nothing_is_kept_on_the_main_line_without_a_mark() -> None:
    source = opened(64)
    take(source, 25)
    assert source.buffered == 0


def test_the_position_is_the_cursors_while_the_buffer_is_ahead() -> None:
    source = opened(8)
    take(source, 8)
    mark = source.mark()
    take(source, 5, probe=True)
    source.rewind(mark)
    take(source, 2)
    state = source.state_dict()
    assert (state["epoch"], state["batch"]) == (1, 0)
    resumed = opened(8)
    resumed.load_state_dict(state)
    assert [resumed.next()[1] for _ in range(3)] == [0, 1, 2]


def test_a_mark_of_an_earlier_process_is_reached_by_reading_to_it() -> None:
    earlier = opened(8)
    take(earlier, 6)
    mark = earlier.mark()
    source = opened(8)
    source.rewind(mark)
    assert take(source, 2) == [6, 7]


def test_releasing_twice_or_a_foreign_mark_changes_nothing() -> None:
    source = opened(8)
    mark = source.mark()
    take(source, 2)
    source.release(opened(8).mark())
    assert source.buffered == 2
    source.release(mark)
    source.release(mark)
    assert source.buffered == 0


def test_a_loader_that_now_has_half_the_batches_goes_on_at_the_same_share(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Sized(Finite):
        def __len__(self) -> int:
            return self.length

    source = open_source(Sized(10))
    for _ in range(6):
        source.next()
    resumed = open_source(Sized(5))
    with caplog.at_level(logging.WARNING):
        resumed.load_state_dict(source.state_dict())
    assert resumed.next() == (0, 3)
    assert "5 batches now and had 10" in caplog.text


def test_a_position_beyond_the_epoch_is_refused() -> None:
    source = opened(0)
    take(source, 9)
    with pytest.raises(StateMismatch, match=r"batch 9 of epoch 0.*ended after 5"):
        opened(0, length=5).load_state_dict(source.state_dict())


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        [1],
        {"version": 2, "seed": 1, "epoch": 0, "batch": 0, "generators": []},
        {"version": 1, "seed": 1, "epoch": -1, "batch": 0, "generators": []},
        {"version": 1, "seed": 1, "epoch": 0, "batch": 0, "generators": ["%"]},
        {"version": 1, "seed": 1, "epoch": 0, "batch": 0, "generators": ["AAAA"]},
    ],
)
def test_what_is_not_a_position_is_refused(document: Any) -> None:
    with pytest.raises(StateMismatch):
        opened(4).load_state_dict(document)


def test_an_empty_loader_and_a_spent_iterator_say_so() -> None:
    with pytest.raises(ConfigurationError, match="not a single batch"):
        opened(4, length=0).next()
    source = open_source(iter([1, 2]))
    assert [source.next(), source.next()] == [1, 2]
    with pytest.raises(ConfigurationError, match="walked through once"):
        source.next()


def test_what_cannot_be_a_loader_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="int was passed as loader"):
        open_source(3)
    with pytest.raises(ConfigurationError, match="buffer_batches is -1"):
        open_source([1], buffer_batches=-1)
