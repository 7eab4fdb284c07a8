"""The database base: SQLite or PostgreSQL through SQLAlchemy. Knows no table.

A service declares its own `DeclarativeBase` and a folder of Alembic revisions.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

from services.common.errors import Unavailable

_POOL_SIZE = 8
_POOL_OVERFLOW = 32
"""Connections kept, and those beyond for a rush: together more than the 32 threads at most of an
asyncio executor, so that no thread waits for another's connection."""

_BUSY_SECONDS = 30
"""How long a SQLite writer waits for the one before it; a write takes milliseconds."""

_WAL_PAUSE_SECONDS = 0.01
_RETRY_AFTER_SECONDS = 1.0
_MIGRATION_LOCK = 0x150_6105_5
"""Key of the advisory lock around migrations: one fixed number, of this project's choice."""


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware times in UTC, to the microsecond, on both engines."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive times; SQLite stores the UTC time as text that sorts."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Now(sa.ColumnElement[datetime]):
    """The database's clock, some seconds ahead: one clock for all processes."""

    type = UtcDateTime()
    inherit_cache = False  # the seconds are part of the text

    def __init__(self, seconds: float = 0.0) -> None:
        """Keep how far ahead."""
        self.seconds = float(seconds)


@compiles(Now, "sqlite")
def _now_sqlite(element: Now, _compiler: SQLCompiler, **_options: object) -> str:
    # Milliseconds, filled up to the microseconds that the type's text has.
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', '{element.seconds:+.3f} seconds') || '000')"


@compiles(Now, "postgresql")
def _now_postgresql(element: Now, _compiler: SQLCompiler, **_options: object) -> str:
    # Not now(), which stands still in a transaction.
    return f"(clock_timestamp() + make_interval(secs => {element.seconds:.3f}))"


class Database:
    """One engine and its transactions. Thread safe.

    Args:
        url: `sqlite:///file` (a local disk, never NFS) or `postgresql://user:password@host/name`.
    """

    def __init__(self, url: str) -> None:
        """Make the engine; PostgreSQL is not dialled before the first transaction."""
        parsed = sa.make_url(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        if self._sqlite:
            if not parsed.database or parsed.database == ":memory:":
                raise ValueError("a SQLite database needs a file: sqlite:///isogloss.sqlite")
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        else:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self._engine = sa.create_engine(
            parsed,
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_OVERFLOW,
            pool_pre_ping=not self._sqlite,
        )
        if self._sqlite:
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = self._engine.execution_options(isogloss_write=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session on one snapshot (SQLite) or committed state (PostgreSQL).

        Rows stay usable after the block, unattached.

        Raises:
            Unavailable: Where the database does not answer.
        """
        with _as_unavailable(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that commits when the block ends, and rolls back when it raises.

        On SQLite it is the only writer from the start, so that what it reads stays true; on
        PostgreSQL guard read-then-write by a constraint, a token or `with_for_update`.

        Raises:
            Unavailable: Where the database does not answer.
        """
        with (
            _as_unavailable(),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def now(self, seconds: float = 0.0) -> Now:
        """Return the SQL expression of the database's clock, `seconds` ahead."""
        return Now(seconds)

    def upgrade(self, migrations: Path) -> None:
        """Bring the schema up to date; of several starting processes, one does it.

        Args:
            migrations: Folder with the Alembic revisions in `versions/`.

        Raises:
            Unavailable: Where the database does not answer.
            alembic.util.CommandError: Where the database is ahead of this release.
        """
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(migrations / "versions"))
        # On SQLite the transaction itself keeps the others waiting.
        with _as_unavailable(), self._writer.begin() as connection:
            if not self._sqlite:
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def take_turns(session: Session, key: int) -> None:
    """Let one transaction at a time go on from here, until it ends.

    For what a lock on rows cannot guard, such as a count. What is read afterwards holds what the
    one before committed. On SQLite a write transaction is alone anyway.

    Args:
        session: An open write transaction.
        key: Of those who take turns: one fixed number.
    """
    if session.get_bind().dialect.name != "sqlite":
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def schema_differences(database: Database, metadata: sa.MetaData) -> list[Any]:
    """Return how the migrated schema differs from the declared tables: empty is right."""
    with database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    # Transactions begin where `_begin_sqlite` says, not where the driver guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    _enter_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _enter_wal(cursor: DBAPICursor) -> None:
    # The mode is the file's, and stays. To change it SQLite turns a reader into a writer, where
    # it fails at once instead of waiting: of several processes that meet here, one gets through.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_WAL_PAUSE_SECONDS)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    # A reader that turns into a writer fails at once when another was faster (SQLITE_BUSY
    # despite the timeout), so writers say so at the start.
    write = connection.get_execution_options().get("isogloss_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    # PostgreSQL calls it an internal error when a connection outlives a failover: what was the
    # primary takes no more writes.
    except (OperationalError, InterfaceError, InternalError, PoolTimeoutError) as error:
        raise Unavailable(
            "The service's database does not answer: retry, or see that it runs.",
            metadata={"dependency": "database"},
            retry_after=_RETRY_AFTER_SECONDS,
        ) from error
