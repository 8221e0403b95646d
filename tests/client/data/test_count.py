"""Tokens and samples of a batch."""

from typing import Any

import numpy as np
import pytest
import torch
from pacesetter.data import count_samples_or_tokens

IDS = torch.zeros(3, 7, dtype=torch.long)
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (IDS, 21),
        ((IDS, IDS), 21),
        ([IDS.to(torch.uint8), IDS], 21),
        ({"input_ids": IDS, "labels": torch.full((3, 7), -100)}, 21),
        ({"input_ids": torch.zeros(2, 3, dtype=torch.int32), "attention_mask": MASK}, 3),
        ({"input_ids": IDS, "attention_mask": torch.ones(3, 1, 7, 7)}, 21),
        ({"input_ids": IDS, "attention_mask": torch.ones(3, 7, device="meta")}, 21),
        ({"inputs_embeds": torch.zeros(3, 7, 16)}, 21),
        ({"pixel_values": torch.zeros(5, 3, 8, 8)}, 5),
        (torch.zeros(5, 3, 8, 8, dtype=torch.uint8), 5),
        (torch.zeros(5, 9), 5),
        ((torch.zeros(5, 9), torch.zeros(5, dtype=torch.long)), 5),
        (np.zeros((4, 6), dtype=np.int64), 24),
        (np.zeros((4, 6)), 4),
        (["a sentence", "another"], 2),
        (torch.tensor(1.0), 1),
        ([], 0),
        ({}, 0),
        (torch.zeros(0, 7, dtype=torch.long), 0),
        (object(), 1),
    ],
)
def test_counts(batch: Any, expected: int) -> None:
    assert count_samples_or_tokens(batch) == expected
