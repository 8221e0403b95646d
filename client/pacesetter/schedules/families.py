"""All families, as one discriminated union. A new family is one file, and one name here."""

from typing import Annotated, get_args

from pydantic import Field

from pacesetter.schedules.base import Family
from pacesetter.schedules.constant import Constant
from pacesetter.schedules.cosine import Cosine
from pacesetter.schedules.cosine_restarts import CosineRestarts
from pacesetter.schedules.exponential import Exponential
from pacesetter.schedules.infinite import Infinite
from pacesetter.schedules.inverse_sqrt import InverseSqrt
from pacesetter.schedules.joined import Joined
from pacesetter.schedules.linear import Linear
from pacesetter.schedules.minicpm_wsd import MiniCPMWSD
from pacesetter.schedules.moderate_decay import ModerateDecay
from pacesetter.schedules.noam import Noam
from pacesetter.schedules.one_cycle import OneCycle
from pacesetter.schedules.polynomial import Polynomial
from pacesetter.schedules.power import Power
from pacesetter.schedules.refined import Refined
from pacesetter.schedules.rewarm import Rewarm
from pacesetter.schedules.rex import REX
from pacesetter.schedules.step import Step
from pacesetter.schedules.table import Table
from pacesetter.schedules.triangular import Triangular
from pacesetter.schedules.uba import UBA
from pacesetter.schedules.wsd import WSD
from pacesetter.schedules.wsd_s import WSDS
from pacesetter.schedules.wsdc import WSDC

_Families = (
    Constant
    | Cosine
    | CosineRestarts
    | Exponential
    | Infinite
    | InverseSqrt
    | Joined
    | Linear
    | MiniCPMWSD
    | ModerateDecay
    | Noam
    | OneCycle
    | Polynomial
    | Power
    | Refined
    | Rewarm
    | REX
    | Step
    | Table
    | Triangular
    | UBA
    | WSD
    | WSDS
    | WSDC
)

AnyFamily = Annotated[_Families, Field(discriminator="family")]

FAMILIES: dict[str, type[Family]] = {
    family.model_fields["family"].default: family for family in get_args(_Families)
}
"""Every family by the name that a document uses."""

KNOWN_FAMILIES: tuple[str, ...] = tuple(FAMILIES)
"""The names that a document may use, which is also what a client registers that it can evaluate."""
