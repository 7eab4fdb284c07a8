"""Whether a model can be used, as the store tells: the row of an imported one may come later."""

from __future__ import annotations

from services.common import layout
from services.common.errors import FailedPrecondition, NotFound, Reason
from services.common.storage import ObjectStore


def require_ready(store: ObjectStore, *, tenant: str, model: str, because: str) -> None:
    """See that a model was published.

    Args:
        store: Where it would be.
        tenant: Whose.
        model: Bare id.
        because: Why it must be, as a clause.

    Raises:
        NotFound: Where there is no such model.
        FailedPrecondition: Where it is not READY.
    """
    if store.stat(layout.model_manifest(tenant, model)) is not None:
        return
    name = f"models/{model}"
    if store.stat(layout.model_pending(tenant, model)) is None:
        raise NotFound(name, hint="`isogloss models list` shows what there is.")
    raise FailedPrecondition(
        f"{name} is not READY, and {because}: `isogloss models show {name}` tells what it is.",
        reason=Reason.MODEL_NOT_READY,
        metadata={"name": name},
        subjects=[name],
    )
