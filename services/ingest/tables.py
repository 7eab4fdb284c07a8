"""The tables of the service's database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.database import UtcDateTime
from services.common.leases import LeaseColumns
from services.common.requests import RequestColumns
from services.ingest.dataset import State
from services.ingest.record import (
    DatasetRecord,
    declared_from_json,
    file_from_json,
    options_from_json,
    problems_from_json,
    raw_from_json,
    report_from_json,
    sources_from_json,
    splits_from_json,
)


class Base(DeclarativeBase):
    """What Alembic compares the migrations with."""


class DatasetRow(LeaseColumns, Base):
    """One dataset; a validator holds its lease while it validates."""

    __tablename__ = "datasets"
    __table_args__ = (
        sa.Index("datasets_newest", "tenant", "create_time", "id"),
        sa.Index("datasets_work", "state", "update_time"),
        sa.Index("datasets_parent", "tenant", "parent"),
        sa.Index("datasets_expiry", "expire_time"),
    )

    tenant: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    display_name: Mapped[str] = mapped_column(sa.String(100))
    state: Mapped[str] = mapped_column(sa.String(20))
    options: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    validate_time: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    declared: Mapped[dict[str, Any]] = mapped_column(sa.JSON, default=dict)
    phase: Mapped[str] = mapped_column(sa.String(100), default="")
    fraction: Mapped[float] = mapped_column(sa.Float, default=0.0)
    report: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True), default=None)
    problems: Mapped[list[Any] | None] = mapped_column(sa.JSON(none_as_null=True), default=None)
    content_hash: Mapped[str] = mapped_column(sa.String(64), default="")
    findings: Mapped[dict[str, Any] | None] = mapped_column(
        sa.JSON(none_as_null=True), default=None
    )
    splits: Mapped[list[Any] | None] = mapped_column(sa.JSON(none_as_null=True), default=None)
    raw: Mapped[list[Any] | None] = mapped_column(sa.JSON(none_as_null=True), default=None)
    expire_time: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    sources: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True), default=None)
    parent: Mapped[str] = mapped_column(sa.String(63), default="", server_default="")
    """Id of the dataset whose rows it begins with; may be empty."""

    search_name: Mapped[str] = mapped_column(sa.String(300), default="", server_default="")
    """The display name as it is searched in: databases fold the case of ASCII only. Folding
    makes at most three characters of one."""

    stored_bytes: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    row_count: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    deleting: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    """Nobody sees it any more; its objects are being removed, then the row."""

    def record(self) -> DatasetRecord:
        """Return the row as the domain knows it."""
        return DatasetRecord(
            tenant=self.tenant,
            id=self.id,
            display_name=self.display_name,
            options=options_from_json(self.options),
            state=State(self.state),
            create_time=self.create_time,
            update_time=self.update_time,
            validate_time=self.validate_time,
            declared=declared_from_json(self.declared),
            phase=self.phase,
            fraction=self.fraction,
            report=report_from_json(self.report),
            problems=problems_from_json(self.problems),
            content_hash=self.content_hash,
            findings=file_from_json(self.findings),
            splits=splits_from_json(self.splits),
            raw=raw_from_json(self.raw),
            expire_time=self.expire_time,
            parent=self.parent,
            sources=sources_from_json(self.sources),
        )


class RequestRow(RequestColumns, Base):
    """Which request created which dataset."""

    __tablename__ = "requests"
