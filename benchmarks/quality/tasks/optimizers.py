"""The optimizers that tasks train with, by name."""

from typing import Literal, TypeAlias

from torch import nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer, RMSprop

OptimizerName: TypeAlias = Literal["sgd", "momentum", "adam", "adamw", "rmsprop", "muon"]

DEFAULT_LR: dict[OptimizerName, float] = {
    "sgd": 0.1,
    "momentum": 0.1,
    "adam": 1e-3,
    "adamw": 1e-3,
    "rmsprop": 1e-3,
    "muon": 1e-3,
}
"""What people type before they tune: torch's defaults, and .1 for SGD, which has none worth the name."""

LABEL: dict[OptimizerName, str] = {
    "sgd": "SGD",
    "momentum": "SGD, momentum .9",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "muon": "Muon + AdamW",
}


def build_optimizers(
    name: OptimizerName, model: nn.Module, lr: float, weight_decay: float
) -> list[Optimizer]:
    """Return the optimizers of ``model``; several for ``muon``, which takes hidden matrices only."""
    parameters = list(model.parameters())
    match name:
        case "sgd":
            return [SGD(parameters, lr=lr, weight_decay=weight_decay, fused=True)]
        case "momentum":
            return [SGD(parameters, lr=lr, momentum=0.9, weight_decay=weight_decay, fused=True)]
        case "adam":
            return [Adam(parameters, lr=lr, weight_decay=weight_decay, fused=True)]
        case "adamw":
            betas = (0.9, 0.95)
            return [AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)]
        case "rmsprop":
            return [RMSprop(parameters, lr=lr, weight_decay=weight_decay)]
        case "muon":
            return _muon_beside_adamw(model, lr, weight_decay)


def _muon_beside_adamw(model: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    """Matrices inside the network to Muon; embeddings, the last layer, norms and biases to AdamW."""
    matrices = [m.weight for m in model.modules() if isinstance(m, nn.Linear)][:-1]
    chosen = {id(matrix) for matrix in matrices}
    rest: list[nn.Parameter] = [p for p in model.parameters() if id(p) not in chosen]
    muon = Muon(
        matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )  # so that one rate means the same for both
    adamw = AdamW(rest, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True)
    return [muon, adamw]
