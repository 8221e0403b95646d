"""Where a running job stands: what a decay now would give, what its plan will, and what longer budgets would.

A curve that shows no decay apart from progress fits any law and says nothing of what a fall of the rate brings: on runs
of a known law its intervals are off by up to seven of their sds. So losses after a fall are left out then, unless a law
of the job's family tells them.
"""

from pacesetter_search.outlook.answer import Decay, Expected, Longer, Outlook, Planned, Way
from pacesetter_search.outlook.basis import (
    Basis,
    Standing,
    choose_basis,
    default_lengths,
    fit_own,
)
from pacesetter_search.outlook.telling import outlook

__all__ = [
    "Basis",
    "Decay",
    "Expected",
    "Longer",
    "Outlook",
    "Planned",
    "Standing",
    "Way",
    "choose_basis",
    "default_lengths",
    "fit_own",
    "outlook",
]
