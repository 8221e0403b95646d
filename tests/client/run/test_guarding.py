"""What several ranks collect, send and judge. With real ranks: ``test_ranks.py``."""

import math

from pacesetter.protocol import StopIfAverageAbove, StopIfGradientSpikes, StopIfNonFinite
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
