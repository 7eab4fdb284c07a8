"""A queue and its models, as tests use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.common.database import Database
from services.common.storage import ObjectStore
from services.trainer.catalogue import Catalogue
from services.trainer.control import Control
from services.trainer.creation import Creation
from services.trainer.models import Models, NewModel, Request
from services.trainer.queue import RunQueue
from services.trainer.tables import ModelRow
from services.trainer.webhooks.addresses import Addresses


def new_model(
    model: str,
    *,
    tenant: str = "default",
    display_name: str = "Tone",
    auto_start: bool = True,
    webhook_uri: str = "",
) -> NewModel:
    """Return a model that could be queued."""
    return NewModel(
        tenant=tenant,
        id=model,
        display_name=display_name,
        base_model="small",
        dataset="tone-zzzzzz",
        dataset_content_hash="0" * 64,
        label_count=3,
        hyperparameters={"seed": 7},
        positive_label="",
        auto_start=auto_start,
        webhook_uri=webhook_uri,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One database, seen by callers and by trainers."""

    database: Database
    models: Models
    control: Control
    trainer: Callable[..., RunQueue]

    def add(self, model: str = "tone-abcdef", *, request_id: str = "", **fields: Any) -> ModelRow:  # noqa: ANN401 (what new_model takes)
        """Queue a model."""
        return self.models.add(
            new_model(model, **fields),
            Request(
                actor="anna",
                request_id=request_id,
                fingerprint=fields.get("display_name", "Tone").encode(),
            ),
        )

    def creation(self, store: ObjectStore, *, control: Control | None = None) -> Creation:
        """Return the way in and out, with a store that has no base."""
        return Creation(
            self.models,
            control or self.control,
            Catalogue(store, {}),
            store,
            addresses=Addresses(),
            threads=1,
        )
