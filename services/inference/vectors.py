"""From embeddings to the numbers that are sent: cut, scaled, packed. Knows arrays only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import FieldViolation, InvalidArgument, Reason
from services.inference.engine import FloatArray
from services.inference.model import Model

# Steps from 0 to the end of a model's range. Both ends of an int8 but the lowest number, so that
# a number and its negative have codes that are each other's negative.
_STEPS = 127

# What UINT8 adds to INT8, and BINARY takes from UBINARY.
_OFFSET = 128

Numbers = NDArray[Any]


class VectorType(StrEnum):
    """Type of an embedding's numbers as they are sent."""

    FLOAT32 = auto()
    FLOAT16 = auto()
    INT8 = auto()
    UINT8 = auto()
    BINARY = auto()
    UBINARY = auto()

    @property
    def scaled(self) -> bool:
        """Whether it needs to know how far from 0 a model's numbers reach."""
        return self in {VectorType.INT8, VectorType.UINT8}

    @property
    def floating(self) -> bool:
        """Whether its numbers have a fraction."""
        return self in {VectorType.FLOAT32, VectorType.FLOAT16}


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorWish:
    """What a caller wants of the vectors, whatever the model."""

    vector_type: VectorType = VectorType.FLOAT32
    dimensions: int = 0
    """How many numbers to keep; 0 for all."""

    force: bool = False
    """Whether to cut where the model was not trained for it."""

    normalize: bool = True
    """Whether what was cut gets length 1 again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorForm:
    """How the vectors of one model are written for one call."""

    vector_type: VectorType
    dimension: int
    """Numbers that are kept, the first ones."""

    normalize: bool
    """Whether they are brought to length 1 again."""

    step: float
    """Of INT8 and UINT8: what one step stands for; 0 of the others."""

    @property
    def packed_bytes(self) -> int:
        """Size of a vector."""
        return math.ceil(self.dimension * _BITS[self.vector_type] / 8)

    def encode(self, rows: FloatArray) -> Numbers:
        """Return the numbers to send, little-endian, one row a text.

        Args:
            rows: Of shape (texts, model's dimension), each of length 1, or of zeros.
        """
        kept = rows[:, : self.dimension]
        if self.normalize:
            lengths = np.linalg.norm(kept, axis=1, keepdims=True)
            # A text that failed has a row of zeros, which stays one.
            lengths[lengths == 0.0] = 1.0
            kept = (kept / lengths).astype(np.float32, copy=False)
        return _ENCODERS[self.vector_type](kept, self.step)


def vector_form(wish: VectorWish, model: Model) -> VectorForm:
    """Return how `model` fulfils a wish.

    Raises:
        InvalidArgument: Naming everything that it cannot fulfil.
    """
    cut = 0 < wish.dimensions != model.dimension
    violations = _dimension_violations(wish, model) if cut else []
    if not wish.normalize and not cut:
        violations.append(_always_normalised(model))
    if wish.vector_type.scaled and not model.vector_range:
        violations.append(_without_range(wish.vector_type, model))
    if violations:
        raise InvalidArgument(violations)
    dimension = wish.dimensions or model.dimension
    normalize = cut and wish.normalize
    # Numbers grow when what was cut gets length 1 again: by the root of what was cut away where
    # all of them are alike, and by less where the first ones say most, as they are trained to.
    growth = math.sqrt(model.dimension / dimension) if normalize else 1.0
    return VectorForm(
        vector_type=wish.vector_type,
        dimension=dimension,
        normalize=normalize,
        step=growth * model.vector_range / _STEPS if wish.vector_type.scaled else 0.0,
    )


def _dimension_violations(wish: VectorWish, model: Model) -> list[FieldViolation]:
    if wish.dimensions > model.dimension:
        problem = (
            f"{wish.dimensions} is more than the {model.dimension} numbers that an embedding of "
            f"{model.name} has. Ask for fewer, or send 0 for all."
        )
        return [FieldViolation(field="dimensions", description=problem)]
    if wish.force or wish.dimensions in model.matryoshka_dimensions:
        return []
    lengths = ", ".join(str(length) for length in model.matryoshka_dimensions)
    trained = f"was trained to be cut to {lengths} only" if lengths else "was not trained to be cut"
    problem = (
        f"{wish.dimensions} of {model.dimension} numbers are asked for, and {model.name} "
        f"{trained}. Send 0 for all, or set force_dimensions and measure what is lost."
    )
    return [
        FieldViolation(field="dimensions", description=problem, reason=Reason.VECTOR_UNAVAILABLE)
    ]


def _always_normalised(model: Model) -> FieldViolation:
    return FieldViolation(
        field="normalize",
        description=(
            f"is false, and {model.name} knows its embeddings by their direction only. Leave it "
            "out; where dimensions cuts them, false keeps what is left as it is."
        ),
        reason=Reason.VECTOR_UNAVAILABLE,
    )


def _without_range(vector_type: VectorType, model: Model) -> FieldViolation:
    return FieldViolation(
        field="vector_type",
        description=(
            f"{vector_type.name} needs to know how far the numbers of {model.name} reach, which "
            "was not measured when it was published. Publish or train it again, or ask for "
            "FLOAT16."
        ),
        reason=Reason.VECTOR_UNAVAILABLE,
    )


def _int8(rows: FloatArray, step: float) -> NDArray[np.int8]:
    # A text unlike those that the range was measured on may reach beyond it.
    steps: FloatArray = np.clip(np.rint(rows / step), -_STEPS, _STEPS)
    return steps.astype(np.int8)


def _uint8(rows: FloatArray, step: float) -> NDArray[np.uint8]:
    return (_int8(rows, step).astype(np.int16) + _OFFSET).astype(np.uint8)


def _ubinary(rows: FloatArray, _: float) -> NDArray[np.uint8]:
    return np.packbits(rows > 0, axis=1)


def _binary(rows: FloatArray, _: float) -> NDArray[np.int8]:
    return (_ubinary(rows, 0.0).astype(np.int16) - _OFFSET).astype(np.int8)


_BITS: Mapping[VectorType, int] = {
    VectorType.FLOAT32: 32,
    VectorType.FLOAT16: 16,
    VectorType.INT8: 8,
    VectorType.UINT8: 8,
    VectorType.BINARY: 1,
    VectorType.UBINARY: 1,
}

# Little-endian is the wire's order, whatever this machine's is.
_ENCODERS: Mapping[VectorType, Callable[[FloatArray, float], Numbers]] = {
    VectorType.FLOAT32: lambda rows, _: rows.astype("<f4", copy=False),
    VectorType.FLOAT16: lambda rows, _: rows.astype("<f2"),
    VectorType.INT8: _int8,
    VectorType.UINT8: _uint8,
    VectorType.BINARY: _binary,
    VectorType.UBINARY: _ubinary,
}
