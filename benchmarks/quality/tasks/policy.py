"""REINFORCE on a point mass that shall come to rest at a goal: data are made by the policy of the moment.

A batch is the seed of its episodes, so rewinding replays starts and noise, never the rollouts of another policy.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.quality.tasks.base import Recipe, Split, Trial, generator
from benchmarks.quality.tasks.networks import build_network
from benchmarks.quality.tasks.optimizers import OptimizerName, build_optimizers

HORIZON = 20
_TRAINING, _EVALUATION = 2, 3
_EVALUATION_EPISODES = 512
_THRUST, _DRAG = 0.15, 0.9
_REACH = 0.2
"""Squared distance at half cost: from farther off, less and less is felt."""
_PUSHES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


@dataclass(frozen=True)
class PolicyRecipe(Recipe):
    """A network over position and speed, and how it is trained."""

    optimizer: OptimizerName
    episodes: int
    width: int
    depth: int
    entropy: float = 0.01

    def open(self, seed: int, lr: float) -> "PolicyTrial":
        """Return the training."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = build_network("mlp", 4, len(_PUSHES), self.width, self.depth)
        return PolicyTrial(model, build_optimizers(self.optimizer, model, lr, 0.0), self, seed)


class PolicyTrial(Trial):
    """The loss has the gradient of the policy and the value of the cost: a surrogate's own value would say nothing."""

    def __init__(
        self, model: nn.Module, optimizers: list[Optimizer], recipe: PolicyRecipe, seed: int
    ) -> None:
        super().__init__(model, optimizers)
        self._recipe, self._seed = recipe, seed

    def batch_at(self, position: int) -> tuple[int, int, int]:
        """Return the seed of the episodes at ``position``."""
        return _TRAINING, self._seed, position

    def loss(self, batch: tuple[int, int, int]) -> Tensor:
        """Return the mean cost a step of fresh episodes, with the policy gradient; baseline and scale by the batch."""
        chance = generator(*batch)
        states, actions, costs = self._rollout(self._recipe.episodes, chance)
        to_go = costs.flip(0).cumsum(0).flip(0)
        advantage = (to_go - to_go.mean(1, keepdim=True)) / (to_go.std(1, keepdim=True) + 1e-6)
        log_policy = torch.log_softmax(self.model(states), dim=-1)
        chosen = log_policy.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        entropy = -(log_policy.exp() * log_policy).sum(-1).mean()
        surrogate = (advantage * chosen).mean() - self._recipe.entropy * entropy
        return surrogate + (costs.mean() - surrogate).detach()

    def held_out_loss(self, split: Split) -> float:
        """Return minus the mean return, that is the mean cost a step, over fixed episodes; actions are drawn."""
        chance = generator(_EVALUATION, "AB".index(split))
        _, _, costs = self._rollout(_EVALUATION_EPISODES, chance)
        return float(costs.mean())

    @torch.no_grad()
    def _rollout(self, episodes: int, chance: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return states [time, episodes, 4], actions and costs [time, episodes] of the current policy."""
        place = 2.0 * torch.rand(episodes, 2, generator=chance) - 1.0
        speed = torch.zeros(episodes, 2)
        states, actions, costs = [], [], []
        for _ in range(HORIZON):
            state = torch.cat([place, speed], dim=1)
            odds = torch.softmax(self.model(state), dim=1)
            odds = odds.nan_to_num(1.0)  # a diverged policy acts at random: its loss is NaN anyway
            action = torch.multinomial(odds, 1, generator=chance).squeeze(1)
            speed = _DRAG * speed + _THRUST * _PUSHES[action]
            place = place + speed
            states.append(state)
            actions.append(action)
            away = place.square().sum(1)
            costs.append(away / (away + _REACH) + speed.square().sum(1))
        return torch.stack(states), torch.stack(actions), torch.stack(costs)
