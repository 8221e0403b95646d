"""What may be borrowed where no run of a target's own kind speaks."""

import math
from collections.abc import Mapping

from pacesetter.protocol import Objective, Regime

from pacesetter_search.transfer.published import LAWS, Change

LOSS = Objective()


def is_loss(objective: Objective) -> bool:
    """Whether an objective is the loss that is trained, for which laws were fitted."""
    return (objective.mode, objective.name) == (LOSS.mode, LOSS.name)


def _lora_octaves() -> float:
    carry = LAWS["lora"].carry
    assert carry is not None
    return math.log2(carry(1.0, Change()))


BORROWED: Mapping[tuple[Regime, Regime], float] = {
    ("lora", "finetune"): _lora_octaves(),
    ("finetune", "lora"): -_lora_octaves(),
}
"""Octaves that the best peak of the first regime lies above that of the second."""

BORROWED_SD = 1.0
"""Octaves that this is off by: reports of LoRA's factor go from 3 to 15, by length, rank and alpha. Judgement."""


def lenders(regime: Regime) -> dict[Regime, float]:
    """Return the regimes that may lend to one, with the octaves to add to their peaks."""
    return {lender: octaves for (asker, lender), octaves in BORROWED.items() if asker == regime}
