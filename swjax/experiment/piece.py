"""What every piece of a study is: frozen, strict, and closed to unknown keys."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(gt=0, lt=1)]
# No array has more rows, and no loop more turns, than 32 bits can count.
_MOST = 2**31 - 1
Count = Annotated[int, Field(ge=1, le=_MOST)]
Several = Annotated[int, Field(ge=2, le=_MOST)]


class Piece(BaseModel):
    """Frozen, strict, and closed: unknown keys and values of another type are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FixedDraws(Piece):
    """Minibatches drawn once, over which a loss is averaged."""

    num: Several = Field(description="draws of minibatches, in two halves")
    num_directions: Count = Field(1, description="directions averaged over in every draw")
