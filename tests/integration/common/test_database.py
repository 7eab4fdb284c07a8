from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy.exc import InternalError, StatementError

from services.common.database import Database, schema_differences
from services.common.errors import Unavailable
from tests.engines import free_ports
from tests.integration.common.sample_database import MIGRATIONS, Base, Job, add_jobs, job


def test_migrations_make_the_declared_tables(database: Database) -> None:
    assert schema_differences(database, Base.metadata) == []


def test_missing_migration_is_seen(database: Database) -> None:
    metadata = sa.MetaData()
    sa.Table("more", metadata, sa.Column("id", sa.Integer, primary_key=True))

    assert schema_differences(database, metadata)


def test_upgrade_again_changes_nothing(database: Database) -> None:
    add_jobs(database, 1)

    database.upgrade(MIGRATIONS)

    assert job(database).id == "j0"


def test_many_processes_may_start_at_once(database_url: str) -> None:
    program = (
        "import sys; from pathlib import Path; from services.common.database import Database\n"
        "database = Database(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "database.upgrade(Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, database_url, str(MIGRATIONS)]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [(process, process.communicate(timeout=60)[1]) for process in started]

    for process, errors in ended:
        assert process.returncode == 0, errors
    database = Database(database_url)
    assert schema_differences(database, Base.metadata) == []
    database.close()


def test_half_a_migration_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    text = (MIGRATIONS / "versions" / "0001_jobs.py").read_text()
    failing = text.replace("def downgrade", "    raise RuntimeError\n\n\ndef downgrade")
    (versions / "0001.py").write_text(failing)
    database = Database(database_url)

    with pytest.raises(RuntimeError):
        database.upgrade(versions.parent)

    with database.read() as session:
        assert sa.inspect(session.connection()).get_table_names() == []
    database.upgrade(MIGRATIONS)
    database.close()


def test_database_ahead_of_the_release_is_refused(database: Database) -> None:
    with database.write() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = 'future'"))

    with pytest.raises(CommandError, match="future"):
        database.upgrade(MIGRATIONS)


def test_times_come_back_in_utc(database: Database) -> None:
    add_jobs(database, 1)
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=5)))

    with database.write() as session:
        session.execute(sa.update(Job).values(finished=moment))

    found = job(database).finished
    assert found == moment
    assert found is not None
    assert found.tzinfo == UTC


def test_naive_time_is_refused(database: Database) -> None:
    add_jobs(database, 1)

    with pytest.raises(StatementError, match="zone"), database.write() as session:
        session.execute(sa.update(Job).values(finished=datetime(2026, 1, 1)))  # noqa: DTZ001 - the point


def test_clock_is_the_databases_and_compares_with_stored_times(database: Database) -> None:
    add_jobs(database, 1)
    with database.write() as session:
        session.execute(sa.update(Job).values(finished=database.now()))

    found = job(database).finished
    assert found is not None
    assert abs(found - datetime.now(UTC)) < timedelta(minutes=1)
    with database.read() as session:
        past = sa.select(Job).where(Job.finished <= database.now())
        soon = sa.select(Job).where(Job.finished > database.now(3600))
        assert session.scalars(past).one().id == "j0"
        assert session.scalars(soon).one_or_none() is None
        ahead = session.scalar(sa.select(database.now(3600)))
    assert ahead is not None
    assert timedelta(minutes=59) < ahead - found < timedelta(minutes=61)


def test_failed_write_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError, match="mine"), database.write() as session:  # noqa: PT012 - the transaction is what is tested
        session.add(Job(tenant="t", id="j0"))
        session.flush()
        raise RuntimeError("mine")

    with database.read() as session:
        assert session.scalars(sa.select(Job)).all() == []


def test_concurrent_writers_all_get_through(database: Database) -> None:
    """Each reads and then writes: on SQLite that fails at once without BEGIN IMMEDIATE."""
    add_jobs(database, 1)

    def raise_position(_: int) -> None:
        with database.write() as session:
            found = session.get(Job, ("t", "j0"), with_for_update=True)
            assert found is not None
            found.position += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(raise_position, range(80)))

    assert job(database).position == 80


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    add_jobs(database, 1)
    with database.write() as session:
        session.execute(sa.update(Job).values(position=1))
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.append(job(database).position))
        reader.start()
        reader.join(timeout=20)
        assert seen == [0]


def test_database_that_is_gone_is_unavailable() -> None:
    (port,) = free_ports(1)
    database = Database(f"postgresql://user:hush@127.0.0.1:{port}/none")

    with pytest.raises(Unavailable) as caught, database.read() as session:
        session.execute(sa.text("SELECT 1"))

    assert caught.value.retry_after
    assert "hush" not in str(caught.value)


def test_database_that_takes_no_writes_any_more_is_unavailable(database: Database) -> None:
    # What the driver raises on a connection to a primary that became a standby.
    failed_over = InternalError("UPDATE jobs", {}, Exception("read-only transaction"))

    with pytest.raises(Unavailable), database.write():
        raise failed_over


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="file"):
        Database(url)


def test_foreign_keys_hold_on_sqlite(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.sqlite")
    with database.write() as session:
        assert session.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert session.scalar(sa.text("PRAGMA journal_mode")) == "wal"
    database.close()
