"""A small service's tables, for tests of what common brings to databases."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.database import Database, UtcDateTime
from services.common.leases import LeaseColumns
from services.common.requests import RequestColumns

MIGRATIONS = Path(__file__).with_name("sample_migrations")


class Base(DeclarativeBase):
    pass


class Job(LeaseColumns, Base):
    __tablename__ = "jobs"

    tenant: Mapped[str] = mapped_column(String(100), primary_key=True)
    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    state: Mapped[str] = mapped_column(String(20), default="QUEUED")
    position: Mapped[int] = mapped_column(default=0)
    finished: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Request(RequestColumns, Base):
    __tablename__ = "requests"


def add_jobs(database: Database, count: int) -> None:
    with database.write() as session:
        session.add_all(Job(tenant="t", id=f"j{n}", position=n) for n in range(count))


def job(database: Database, name: str = "j0") -> Job:
    with database.read() as session:
        found = session.get(Job, ("t", name))
    assert found is not None
    return found
