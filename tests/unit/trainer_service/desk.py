"""A queue and its models, as tests use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.common.database import Database
from services.trainer.models import Models, NewModel, Request
from services.trainer.queue import RunQueue
from services.trainer.tables import ModelRow


def new_model(model: str, *, tenant: str = "default", display_name: str = "Tone") -> NewModel:
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
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One database, seen by callers and by trainers."""

    database: Database
    models: Models
    trainer: Callable[..., RunQueue]

    def add(self, model: str = "tone-abcdef", *, request_id: str = "", **fields: str) -> ModelRow:
        """Queue a model."""
        return self.models.add(
            new_model(model, **fields),
            Request(
                actor="anna",
                request_id=request_id,
                fingerprint=fields.get("display_name", "Tone").encode(),
            ),
        )
