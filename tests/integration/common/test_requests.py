from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from services.common.database import Database
from services.common.errors import AlreadyExists, InvalidArgument, Reason
from services.common.requests import claim_request
from tests.integration.common.sample_database import Request

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def claim(
    database: Database,
    request_id: str,
    content: bytes = b"a",
    *,
    tenant: str = "t",
    method: str = "Create",
) -> tuple[str | None, str]:
    """Return what was created before, and what this call would create."""
    resource = f"models/{secrets.token_hex(4)}"
    with database.write() as session:
        before = claim_request(
            session,
            Request,
            tenant=tenant,
            method=method,
            request_id=request_id,
            fingerprint=content,
            resource=resource,
            now=NOW,
        )
    return before, resource


def test_same_request_again_finds_what_it_made(database: Database) -> None:
    first, made = claim(database, "id")
    again, _ = claim(database, "id")

    assert first is None
    assert again == made


def test_other_request_with_the_same_id_is_refused(database: Database) -> None:
    claim(database, "id")

    with pytest.raises(AlreadyExists) as caught:
        claim(database, "id", b"b")

    assert caught.value.reason is Reason.REQUEST_ID_REUSED


def test_tenants_and_methods_do_not_meet(database: Database) -> None:
    claim(database, "id")

    assert claim(database, "id", b"b", tenant="other")[0] is None
    assert claim(database, "id", b"b", method="Other")[0] is None


def test_no_id_no_guarantee(database: Database) -> None:
    assert claim(database, "")[0] is None
    assert claim(database, "")[0] is None


@pytest.mark.parametrize("request_id", ["x" * 65, "a\0", "a\nb"])
def test_bad_id_is_refused(database: Database, request_id: str) -> None:
    with pytest.raises(InvalidArgument, match="request_id"):
        claim(database, request_id)


def test_failed_creation_frees_the_id(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:  # noqa: PT012 - the transaction
        claim_request(
            session,
            Request,
            tenant="t",
            method="Create",
            request_id="id",
            fingerprint=b"a",
            resource="models/lost",
            now=NOW,
        )
        raise RuntimeError

    assert claim(database, "id", b"b")[0] is None


def test_of_many_at_once_one_creates(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: claim(database, "id"), range(8)))

    (made,) = [resource for before, resource in outcomes if before is None]
    assert [before for before, _ in outcomes if before is not None] == [made] * 7
