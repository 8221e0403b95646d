"""muP: the learning rate that is best for a small model is best for a wide one (and, with CompleteP, for a deep one).

::

    form = Parametrization.by_shapes(make_model, width=1024, base_width=256)
    model = form.apply_(make_model(1024))
    optimizer = torch.optim.AdamW(form.groups(model, lr=2**-8, weight_decay=0.1))
"""

from pacesetter.mup.checking import (
    CoordinateCheck,
    Drift,
    coordinate_check,
    measure_coordinates,
)
from pacesetter.mup.classes import ParameterClass, Rule
from pacesetter.mup.multipliers import attention_scale
from pacesetter.mup.parametrization import MakeModel, Parametrization

__all__ = [
    "CoordinateCheck",
    "Drift",
    "MakeModel",
    "ParameterClass",
    "Parametrization",
    "Rule",
    "attention_scale",
    "coordinate_check",
    "measure_coordinates",
]
