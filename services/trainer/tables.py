"""The trainer's tables: models that wait, train or have ended, and what happened to them.

What is READY can be rebuilt from the manifests in the object store.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.database import UtcDateTime
from services.common.leases import LeaseColumns
from services.common.requests import RequestColumns
from services.trainer.state import State

MIGRATIONS = Path(__file__).parent / "migrations"
"""How the tables came to be; `Database.upgrade` takes it."""

_ETAG_LENGTH = 16


class Base(DeclarativeBase):
    """Holds the metadata of the trainer's tables."""


class ModelRow(LeaseColumns, Base):
    """One model."""

    __tablename__ = "models"
    __table_args__ = (
        Index("models_by_time", "tenant", "create_time", "id"),
        Index("models_by_state", "state", "queue_time"),
        Index("models_by_lease", "lease_until"),
        Index("models_by_start", "tenant", "start_time"),
    )

    tenant: Mapped[str] = mapped_column(String(100), primary_key=True)
    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    display_name: Mapped[str] = mapped_column(String(100))
    search_name: Mapped[str] = mapped_column(String(300))
    """`display_name` without case; a letter takes up to three without it."""
    base_model: Mapped[str] = mapped_column(String(100))
    """Bare id."""
    dataset: Mapped[str] = mapped_column(String(100))
    """Bare id."""
    dataset_content_hash: Mapped[str] = mapped_column(String(64))
    hyperparameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What was asked for, then what was used; absent is open."""
    positive_label: Mapped[str] = mapped_column(Text)
    label_count: Mapped[int]
    webhook_uri: Mapped[str] = mapped_column(Text)
    """Where its end is told; may be empty."""
    estimate: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The fields of `estimate.Estimate`."""

    state: Mapped[str] = mapped_column(String(20))
    state_reason: Mapped[str] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    """Why it failed; set only in FAILED."""
    queue_time: Mapped[datetime] = mapped_column(UtcDateTime)
    """When a caller queued it last: a run that is tried again keeps its place."""
    pause_requested: Mapped[bool]
    """Whether its trainer is to stop it and leave it PAUSED."""
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """A lost run is not begun again before this time."""
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The fields of `messages.Progressed`."""
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The latest `messages.Measured`, and its `create_time`."""
    variants: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    """What is served: precision, digest, size_bytes."""
    dimension: Mapped[int]
    max_tokens: Mapped[int]

    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    start_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_sequence: Mapped[int] = mapped_column(BigInteger)
    """Sequence of its latest event; 0 before the first."""
    revision: Mapped[int] = mapped_column(BigInteger)
    """Grows with every change that a watcher is told."""

    @property
    def phase(self) -> State:
        """Its state."""
        return State(self.state)

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"models/{self.id}"

    @property
    def etag(self) -> str:
        """Differs after each change that a caller can make, and between states."""
        seen = (self.id, self.display_name, self.webhook_uri, self.phase)
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:_ETAG_LENGTH]


class EventRow(Base):
    """One thing that happened to a model."""

    __tablename__ = "events"

    tenant: Mapped[str] = mapped_column(String(100), primary_key=True)
    model: Mapped[str] = mapped_column(String(100), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(100))
    attempt: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    """`entered`, `measured` or `logged`."""
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The fields of the message of that kind in `messages`."""


class EvaluationRow(LeaseColumns, Base):
    """One evaluation of a READY model on a further dataset."""

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("evaluations_by_state", "state", "create_time"),
        Index("evaluations_by_end", "tenant", "end_time"),
        Index("evaluations_by_time", "tenant", "model", "create_time", "id"),
    )

    tenant: Mapped[str] = mapped_column(String(100), primary_key=True)
    model: Mapped[str] = mapped_column(String(100), primary_key=True)
    """Bare id, like `dataset`."""
    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(100))
    dataset_content_hash: Mapped[str] = mapped_column(String(64))
    split: Mapped[str] = mapped_column(String(20))
    """`train`, `validation` or `test`."""
    state: Mapped[str] = mapped_column(String(20))
    """A member of `evaluating.state.State`."""
    error: Mapped[str | None] = mapped_column(Text)
    """Why it failed; set only in FAILED."""
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`files`, what is stored, by name, and `summary`, an `Evaluation` in short; both as JSON of
    their messages. Set only in READY."""
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """A lost attempt is not followed by another before this time."""
    end_time: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"models/{self.model}/evaluations/{self.id}"


class RequestRow(RequestColumns, Base):
    """A `CreateModel`, `EvaluateModel` or `ImportModel` that may be repeated."""

    __tablename__ = "requests"


class DeliveryRow(LeaseColumns, Base):
    """One message about the end of a model, until it is delivered or given up."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("deliveries_by_time", "create_time"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The same however often it is sent."""
    tenant: Mapped[str] = mapped_column(String(100))
    model: Mapped[str] = mapped_column(String(100))
    """Bare id."""
    uri: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    """JSON, as it is sent."""
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """It is not sent again before this time."""
