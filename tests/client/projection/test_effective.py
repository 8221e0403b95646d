"""The effective learning rate, and that projection changes nothing else."""

import pytest
import torch
from pacesetter.errors import ConfigurationError
from pacesetter.projection import NormProjection, effective_learning_rates
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from tests.client.projection.normalised import descend, direction, linear, perceptron, weight


class Signed(Optimizer):
    """An optimizer that nobody has heard of."""

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})


def norm_five() -> nn.Parameter:
    return nn.Parameter(torch.tensor([[3.0, 4.0]]))


def test_sgd_divides_by_the_square_of_the_norm_and_adam_by_the_norm() -> None:
    w = norm_five()

    assert effective_learning_rates({"w": w}, SGD([w], lr=0.5)) == {"w": pytest.approx(0.02)}
    for kind in (Adam, AdamW, RMSprop):
        assert effective_learning_rates({"w": w}, kind([w], lr=0.5)) == {"w": pytest.approx(0.1)}


def test_each_weight_has_the_rate_of_its_group_and_others_are_left_out() -> None:
    first, second, other = norm_five(), norm_five(), norm_five()
    optimizer = SGD([{"params": [first], "lr": 0.5}, {"params": [second], "lr": 5.0}], lr=1.0)
    rates = effective_learning_rates([("a", first), ("b", second), ("c", other)], optimizer)

    assert rates == {"a": pytest.approx(0.02), "b": pytest.approx(0.2)}


def test_a_model_stands_for_its_hidden_weights() -> None:
    model = perceptron()
    rates = effective_learning_rates(model, Adam(model.parameters(), lr=1e-3))

    assert list(rates) == ["0.weight", "3.weight", "6.weight"]
    assert rates["3.weight"] == pytest.approx(
        1e-3 / linear(model, 3).weight.norm().item(), rel=1e-6
    )


def test_weight_of_norm_zero_has_an_infinite_rate() -> None:
    w = nn.Parameter(torch.zeros(2, 2))

    assert effective_learning_rates({"w": w}, SGD([w], lr=0.1)) == {"w": float("inf")}


def test_an_unknown_optimizer_needs_to_be_told() -> None:
    w = norm_five()
    optimizer = Signed([w], lr=0.5)

    with pytest.raises(ConfigurationError, match=r"Signed .*pass norm_power=2"):
        effective_learning_rates({"w": w}, optimizer)
    assert effective_learning_rates({"w": w}, optimizer, norm_power=1) == {"w": pytest.approx(0.1)}


def test_tensor_rates_and_sixteen_bit_weights_are_read() -> None:
    w = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16))
    rates = effective_learning_rates({"w": w}, AdamW([w], lr=torch.tensor(0.5)))

    assert rates == {"w": pytest.approx(0.1)}


def test_projected_sgd_at_the_effective_rate_takes_the_path_of_plain_sgd() -> None:
    free, held = weight(), weight()
    plain, other = SGD([free], lr=0.7), SGD([held], lr=0.7)
    projection = NormProjection({"w": held}, other)
    start = free.norm().item()
    for _ in range(200):
        other.param_groups[0]["lr"] = 0.7 * (start / free.norm().item()) ** 2
        assert projection.effective_learning_rates()["w"] == pytest.approx(
            effective_learning_rates({"w": free}, plain)["w"], rel=1e-12
        )
        descend(free, plain)
        descend(held, other)

        torch.testing.assert_close(direction(held), direction(free), rtol=0.0, atol=1e-12)
        assert held.norm().item() == pytest.approx(start, rel=1e-14)
    assert free.norm().item() > 1.1 * start  # or else nothing was shown


def test_ten_times_the_norm_at_a_hundred_times_the_rate_is_the_same_path() -> None:
    small, large = weight(), weight(10.0)
    slow, fast = SGD([small], lr=0.7), SGD([large], lr=70.0)
    NormProjection({"w": large}, fast)
    NormProjection({"w": small}, slow)
    for _ in range(200):
        descend(small, slow)
        descend(large, fast)

        torch.testing.assert_close(direction(large), direction(small), rtol=0.0, atol=1e-12)


def test_ten_times_the_norm_at_ten_times_the_rate_is_the_same_path_under_adam() -> None:
    small, large = weight(), weight(10.0)
    slow, fast = Adam([small], lr=0.01, eps=0.0), Adam([large], lr=0.1, eps=0.0)
    NormProjection({"w": small}, slow)
    NormProjection({"w": large}, fast)
    for _ in range(50):
        descend(small, slow)
        descend(large, fast)

        torch.testing.assert_close(direction(large), direction(small), rtol=0.0, atol=1e-10)
