from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from services.common.database import Database
from services.common.leases import Lease, LeaseLost, LeaseQueue
from tests.integration.common.sample_database import Job, add_jobs, job

READY = Job.state.in_(["QUEUED", "RUNNING"])


def queue(database: Database, *, owner: str = "me", seconds: float = 60.0) -> LeaseQueue[Job]:
    return LeaseQueue(database, Job, owner=owner, seconds=seconds)


def take(leases: LeaseQueue[Job]) -> tuple[str, Lease] | None:
    claim = leases.claim(READY, order_by=Job.position, values={"state": "RUNNING"})
    return None if claim is None else (claim.row.id, claim.lease)


def run_out(database: Database) -> None:
    """Let every lease be over: nobody renews, and time passes."""
    with database.write() as session:
        session.execute(sa.update(Job).values(lease_until=database.now(-1)))


def test_claims_come_in_order_and_each_row_once(database: Database) -> None:
    add_jobs(database, 3)
    leases = queue(database)

    taken = [take(leases) for _ in range(4)]

    assert [found and found[0] for found in taken] == ["j0", "j1", "j2", None]
    row = job(database)
    assert (row.state, row.owner, row.attempt, row.token) == ("RUNNING", "me", 1, 1)


def test_claim_returns_the_row_as_it_is_now(database: Database) -> None:
    add_jobs(database, 1)

    claim = queue(database).claim(READY, order_by=(Job.position.desc(), Job.id))

    assert claim is not None
    assert claim.lease == Lease(key=("t", "j0"), token=1, attempt=1)
    assert (claim.row.token, claim.row.owner) == (1, "me")
    assert claim.row.lease_until is not None


def test_row_that_is_not_ready_stays(database: Database) -> None:
    add_jobs(database, 1)

    assert queue(database).claim(READY, Job.position > 5, order_by=Job.position) is None


def test_lease_that_ran_out_is_taken_and_the_first_owner_writes_nothing(
    database: Database,
) -> None:
    add_jobs(database, 1)
    first, second = queue(database, owner="first"), queue(database, owner="second")
    zombie = take(first)
    assert zombie is not None
    run_out(database)
    taken = take(second)
    assert taken is not None
    assert taken[1] == Lease(key=("t", "j0"), token=2, attempt=2)

    with pytest.raises(LeaseLost):
        first.renew(zombie[1])
    for release in (False, True):
        with pytest.raises(LeaseLost):
            first.update(zombie[1], {"state": "DONE"}, release=release)
    with pytest.raises(LeaseLost), database.write() as session:  # noqa: PT012 - the transaction
        session.add(Job(tenant="t", id="side-effect"))
        first.fence(session, zombie[1])

    row = job(database)
    assert (row.state, row.owner) == ("RUNNING", "second")
    with database.read() as session:
        assert session.get(Job, ("t", "side-effect")) is None


def test_lease_that_ran_out_but_was_not_taken_goes_on(database: Database) -> None:
    add_jobs(database, 1)
    leases = queue(database)
    taken = take(leases)
    assert taken is not None
    run_out(database)

    leases.renew(taken[1])

    assert take(leases) is None


def test_renewed_lease_lasts(database: Database) -> None:
    add_jobs(database, 1)
    leases = queue(database, seconds=3600)
    taken = take(leases)
    assert taken is not None
    before = job(database).lease_until

    leases.renew(taken[1])

    after = job(database).lease_until
    assert before is not None
    assert after is not None
    assert after >= before


def test_released_row_is_free_and_its_lease_over(database: Database) -> None:
    add_jobs(database, 1)
    leases = queue(database)
    taken = take(leases)
    assert taken is not None

    leases.update(taken[1], {"state": "QUEUED"}, release=True)

    with pytest.raises(LeaseLost):
        leases.renew(taken[1])
    assert job(database).owner is None
    again = take(leases)
    assert again is not None
    assert again[1].token == 2


def test_lease_on_a_row_that_is_gone_is_lost(database: Database) -> None:
    add_jobs(database, 1)
    leases = queue(database)
    taken = take(leases)
    assert taken is not None
    with database.write() as session:
        session.execute(sa.delete(Job))

    with pytest.raises(LeaseLost):
        leases.renew(taken[1])


def test_many_threads_never_share_a_row(database: Database) -> None:
    add_jobs(database, 60)

    def work(number: int) -> list[str]:
        leases = queue(database, owner=f"w{number}")
        done = []
        while (found := take(leases)) is not None:
            done.append(found[0])
            leases.update(found[1], {"state": "DONE"}, release=True)
        return done

    with ThreadPoolExecutor(6) as pool:
        done = [name for names in pool.map(work, range(6)) for name in names]

    assert sorted(done) == sorted(f"j{n}" for n in range(60))
    with database.read() as session:
        assert session.scalars(sa.select(Job.attempt).distinct()).all() == [1]


def test_contenders_do_not_leave_ready_rows_behind(database: Database) -> None:
    """As many claims at once as there are rows: on PostgreSQL each skips what others lock."""
    add_jobs(database, 8)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: take(queue(database)), range(8)))

    # A claim may come up empty only where others took everything; a second round gets the rest.
    names = {found[0] for found in taken if found}
    while (found := take(queue(database))) is not None:
        assert found[0] not in names
        names.add(found[0])
    assert len(names) == 8


def test_killed_workers_lose_nothing(database_url: str, database: Database) -> None:
    """Processes that are killed in the middle: every job is done once by somebody else."""
    add_jobs(database, 40)
    program = """
import os, signal, sys
from services.common.database import Database
from services.common.leases import LeaseQueue
from tests.integration.common.sample_database import Job
database = Database(sys.argv[1])
leases = LeaseQueue(database, Job, owner=str(os.getpid()), seconds=0.5)
for count in range(1000):
    claim = leases.claim(Job.state == "QUEUED", order_by=Job.position)
    if claim is None:
        break
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    done = {"state": "DONE", "position": claim.row.position + 1000}
    leases.update(claim.lease, done, release=True)
"""
    kill_after = ["2", "4", "9999", "9999"]
    started = [
        subprocess.Popen([sys.executable, "-c", program, database_url, after])
        for after in kill_after
    ]
    for process in started:
        process.wait(timeout=60)
    run_out(database)  # what only the killed held

    subprocess.run([sys.executable, "-c", program, database_url, "9999"], check=True, timeout=60)

    with database.read() as session:
        rows = session.scalars(sa.select(Job)).all()
    assert {row.state for row in rows} == {"DONE"}
    assert sorted(row.position for row in rows) == list(range(1000, 1040))
    killed = [process for process in started if process.returncode == -9]
    assert sum(row.attempt for row in rows) == 40 + len(killed)
