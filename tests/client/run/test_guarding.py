"""What several ranks collect, send and judge. With real ranks: ``test_ranks.py``."""

import math

from pacesetter.protocol import (
    StopIfAverageAbove,
    StopIfGradientSpikes,
    StopIfNonFinite,
    StopIfProgressLost,
)
from pacesetter.run.guarding import LossGuard


def guard(*, lag_steps: int = 0) -> LossGuard:
    made = LossGuard(lag_steps, alone=False)
    made.begin((StopIfNonFinite(), StopIfGradientSpikes()), main=True)
    return made


def test_several_ranks_judge_what_they_sent_and_not_what_they_see() -> None:
    several = guard()
    assert several.take(math.nan) is None
    assert len(several.send()) == 2
    assert several.judge([1.0, 2.0]) is None
    several.take(1.0)
    several.send()
    assert several.judge([math.nan, 2.0]) == "NON_FINITE"
    assert not several.active


def test_a_step_without_a_norm_sends_as_much_as_one_with_it() -> None:
    several = guard()
    several.take(1.0, 3.0)
    several.take(2.0)
    assert several.send() == [1.0, 2.0, 3.0, 0.0]
    assert several.send() == []


def test_what_is_under_way_when_another_segment_begins_is_not_judged_in_it() -> None:
    several = guard()
    several.take(math.nan)
    sent = several.send()
    several.begin((StopIfNonFinite(),))
    assert several.judge(sent) is None
    assert several.active


def test_what_was_collected_for_a_segment_that_is_over_is_not_sent() -> None:
    several = guard()
    several.take(math.nan)
    several.begin((StopIfNonFinite(),))
    assert several.send() == []


def test_at_the_end_of_a_segment_what_is_still_on_its_way_to_the_host_is_sent_too() -> None:
    several = guard(lag_steps=3)
    for loss in (1.0, 2.0, 3.0, 4.0):
        several.take(loss, 10.0 * loss)
    assert several.send() == [1.0, 10.0]
    several.take(5.0, 50.0, over=True)
    assert several.send() == [2.0, 3.0, 4.0, 5.0, 20.0, 30.0, 40.0, 50.0]


def test_means_of_one_exchange_after_another_are_one_series() -> None:
    several = LossGuard(0, alone=False)
    several.begin((StopIfAverageAbove(bound=2.0, decay=0.5),))
    codes = []
    for mean in (1.0, 2.5, 2.5, 2.5):
        several.take(0.0)
        several.send()
        codes.append(several.judge([mean]))
    # 1, 1.75, 2.125: the third is above.
    assert codes == [None, None, "AVERAGE_ABOVE", None]
    assert several.evidence == {"average": 2.125, "bound": 2.0}


def test_what_is_lost_between_two_segments_of_the_main_line_stops_the_second() -> None:
    alone = LossGuard(0, alone=True)
    clauses = (StopIfNonFinite(), StopIfProgressLost())
    alone.begin(clauses, main=True)
    assert [alone.take(4.0) for _ in range(40)] == [None] * 40
    alone.rest()
    assert [alone.take(1.0) for _ in range(80)] == [None] * 80
    assert [alone.take(4.0) for _ in range(83)] == [None] * 83
    alone.begin(clauses, main=True)
    assert "PROGRESS_LOST" in [alone.take(4.0) for _ in range(8)]
    assert alone.evidence["best"] < 1.5


def test_a_probe_is_not_stopped_for_what_the_main_line_lost_before_it() -> None:
    alone = LossGuard(0, alone=True)
    alone.begin((StopIfNonFinite(),), main=True)
    alone.rest()
    assert alone.take(math.nan) is None
    alone.begin((StopIfNonFinite(),))
    assert [alone.take(1.0) for _ in range(20)] == [None] * 20


def test_the_last_few_losses_before_the_next_segment_are_seen_too() -> None:
    alone = LossGuard(0, alone=True)
    alone.begin((StopIfNonFinite(),), main=True)
    alone.rest()
    assert [alone.take(loss) for loss in (1.0, math.inf, 1.0)] == [None] * 3
    alone.begin((StopIfNonFinite(),), main=True)
    assert "NON_FINITE" in [alone.take(1.0) for _ in range(8)]
