from __future__ import annotations

import grpc
import pytest

from isogloss import Aborted, AsyncClient, Client
from tests.integration.client.answers import refusal
from tests.integration.client.scripted import MODEL, Scripted
from tests.integration.client.scripted_aliases import ALIAS


def test_an_alias_is_set_to_what_a_call_answered(client: Client, script: Scripted) -> None:
    model = client.models.get(MODEL)

    found = client.aliases.set(ALIAS, model, preload=True, expected_version=0)
    client.aliases.set(found, MODEL)

    first, second = script.asked("SetAlias")
    assert (first.alias.name, first.alias.model, first.alias.preload) == (ALIAS, MODEL, True)
    assert first.HasField("expected_version")
    assert not second.HasField("expected_version")
    assert (found.version, found.model) == (6, MODEL)
    assert found.update_time is not None


def test_lists_are_read_page_by_page(client: Client, script: Scripted) -> None:
    history = list(client.aliases.history(ALIAS))

    assert [alias.name for alias in client.aliases.list()] == ["aliases/a", ALIAS]
    assert [version.version for version in history] == [5, 4, 3, 2, 1]
    assert history[2].restored_version == 1
    assert len(script.asked("ListAliasVersions")) == 2


def test_going_back_and_deleting(client: Client, script: Scripted) -> None:
    client.aliases.rollback(client.aliases.get(ALIAS), version=2, expected_version=5)
    client.aliases.delete(ALIAS)

    [request] = script.asked("RollbackAlias")
    assert (request.name, request.version, request.expected_version) == (ALIAS, 2, 5)
    assert script.deleted == [ALIAS]


def test_who_came_second_is_told(client: Client, script: Scripted) -> None:
    script.refusals["SetAlias"].append(
        refusal(grpc.StatusCode.ABORTED, "Somebody was faster.", reason="ETAG_MISMATCH")
    )

    with pytest.raises(Aborted, match="faster"):
        client.aliases.set(ALIAS, MODEL, expected_version=3)


async def test_asyncio_has_the_same(async_client: AsyncClient) -> None:
    found = await async_client.aliases.get(ALIAS)

    answer = await async_client.classify(found, ["great"])

    assert answer.served_by.model == ALIAS
    assert [alias.name async for alias in async_client.aliases.list()] == ["aliases/a", ALIAS]
