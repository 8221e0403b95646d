"""Which schedule to run, by a law: ranks, tuned families and a free shape, and what to do now in a running job."""

from pacesetter_search.laws.choice.every import Choice, choose, makers
from pacesetter_search.laws.choice.free import optimise_free
from pacesetter_search.laws.choice.ranking import (
    SHRINK,
    Ranked,
    Ranking,
    rank_schedules,
    rank_under,
)
from pacesetter_search.laws.choice.running import (
    DecayNow,
    DecayOutlook,
    Extension,
    compare_extensions,
    cooldown_for,
    decay_now,
    drop_for,
)
from pacesetter_search.laws.choice.tuning import TUNABLE, Tuned, optimise_family
from pacesetter_search.laws.choice.zoo import learning_rates, rank_zoo, usual_schedules, zoo

__all__ = [
    "SHRINK",
    "TUNABLE",
    "Choice",
    "DecayNow",
    "DecayOutlook",
    "Extension",
    "Ranked",
    "Ranking",
    "Tuned",
    "choose",
    "compare_extensions",
    "cooldown_for",
    "decay_now",
    "drop_for",
    "learning_rates",
    "makers",
    "optimise_family",
    "optimise_free",
    "rank_schedules",
    "rank_under",
    "rank_zoo",
    "usual_schedules",
    "zoo",
]
