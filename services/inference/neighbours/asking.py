"""From what a caller wishes to know of texts to what explains them, or why nothing does.

On the event loop.
"""

from __future__ import annotations

import asyncio
import time

from services.common.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    Reason,
)
from services.inference.engine import FloatArray
from services.inference.fewshot.examples import Examples
from services.inference.limits import neighbour_bytes
from services.inference.model import Model, Precision
from services.inference.neighbours.explaining import (
    TEXT_CHARACTERS,
    Explainer,
    NeighbourWish,
    Scope,
)
from services.inference.neighbours.lazy import KnownRows, LazyNeighbours
from services.inference.neighbours.rows import Rows

_TEXTS_SECONDS = 0.5
# How long a caller waits for a look at texts, which takes milliseconds: where the store is silent,
# neighbours come without them.


async def by_training_rows(wish: NeighbourWish, model: Model) -> Explainer | None:
    """Return what explains texts by the rows that `model` learnt from; None: nothing is asked.

    Raises:
        InvalidArgument: Where the precision is not that of the rows.
        FailedPrecondition: Where the model keeps none, or no measure of texts of its kind.
        DataLoss: Where they are damaged.
        ResourceExhausted: Where they do not fit on this machine's disk.
        Unavailable: Where the store does not answer.
    """
    if not wish.fields:
        return None
    kept = _kept(wish, model)
    known, seconds = kept.ready(), None
    if known is None:
        began = time.monotonic()
        known = await _looked(kept)
        seconds = time.monotonic() - began
    return Explainer(
        rows=known.rows,
        row_bytes=known.row_bytes,
        texts=known.texts,
        explain=wish.explain,
        scope=(
            Scope(nearest=kept.stored.nearest, held_out_cosines=kept.stored.held_out_cosines)
            if wish.out_of_scope
            else None
        ),
        dataset=kept.stored.dataset if wish.explain else "",
        seconds=seconds,
    )


def by_examples(wish: NeighbourWish, examples: Examples, vectors: FloatArray) -> Explainer | None:
    """Return what explains texts by the examples of their call; None: nothing is asked.

    Args:
        wish: Without `out_of_scope`.
        examples: Of the call.
        vectors: Theirs, of shape (examples, dimension).
    """
    if not wish.explain:
        return None
    texts = [text[:TEXT_CHARACTERS] for text in examples.texts]
    labels = [(label,) for label in examples.labels]
    return Explainer(
        rows=Rows(vectors=vectors, places=range(len(texts)), labels=labels),
        row_bytes=neighbour_bytes(labels, texts),
        texts=dict(enumerate(texts)),
        explain=wish.explain,
    )


async def _looked(kept: LazyNeighbours) -> KnownRows:
    bare = kept.bare
    if bare is None:
        # Kept under no name: what it fails with holds this frame, and would so hold itself.
        return await asyncio.wrap_future(kept.request())
    try:
        return await asyncio.wait_for(asyncio.wrap_future(kept.request()), _TEXTS_SECONDS)
    except TimeoutError:
        return bare


def _kept(wish: NeighbourWish, model: Model) -> LazyNeighbours:
    if model.precision is not Precision.EXACT:
        raise InvalidArgument(
            [
                FieldViolation(
                    field=field,
                    description=(
                        f"is told by {model.name} in EXACT precision only: its rows are kept as "
                        f"that computes them, and {model.precision.name} vectors lie elsewhere. "
                        "Ask for EXACT, or leave it out."
                    ),
                )
                for field in wish.fields
            ]
        )
    kept = model.neighbours
    if kept is None:
        raise _unavailable(model, wish.fields[0], "keeps none of the rows that it was trained on")
    if wish.out_of_scope and not kept.stored.held_out_cosines:
        raise _unavailable(
            model, "out_of_scope", "was trained with no rows held out to compare texts with"
        )
    return kept


def _unavailable(model: Model, field: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{model.name} {why}: {field} cannot be told. Train it again with this release's trainer, "
        "on more rows where it had very few, or leave the field out.",
        reason=Reason.NEIGHBOURS_UNAVAILABLE,
        metadata={"name": model.name, "field": field},
        subjects=[model.name],
    )
