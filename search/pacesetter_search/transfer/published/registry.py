"""All published laws by name."""

from collections.abc import Mapping

from pacesetter_search.transfer.published.batches import BATCHES
from pacesetter_search.transfer.published.law import PublishedLaw
from pacesetter_search.transfer.published.losses import LOSSES
from pacesetter_search.transfer.published.peaks import PEAKS
from pacesetter_search.transfer.published.rules import RULES
from pacesetter_search.transfer.published.timescale import TIMESCALE

LAWS: Mapping[str, PublishedLaw] = {
    law.name: law for law in (*PEAKS, *BATCHES, TIMESCALE, *LOSSES, *RULES)
}
