import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As the planning process does when it starts: at these sizes threads cost twentyfold."""
    torch.set_num_threads(1)
