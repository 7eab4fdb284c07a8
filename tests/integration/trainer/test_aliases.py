from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from isogloss.v1 import alias_service_pb2 as pb
from isogloss.v1.alias_pb2 import Alias
from isogloss.v1.alias_service_pb2_grpc import (
    AliasServiceStub,
    add_AliasServiceServicer_to_server,
)
from services.common import layout
from services.common.server import Application, Service, running_server
from services.common.settings import ServiceSettings
from services.common.storage import ObjectStore, open_store
from services.trainer.registry.alias_servicer import ROLES, SERVICE, AliasServicer
from tests.tiny_model import publish_tiny_model

if TYPE_CHECKING:
    from isogloss.v1.alias_service_pb2_grpc import AliasServiceAsyncStub

NAME = "aliases/reviews"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    store = open_store(str(tmp_path / "store"))
    for model in ("one", "two", "three"):
        publish_tiny_model(store, "default", model)
    return store


@pytest.fixture
async def aliases(store: ObjectStore) -> AsyncIterator[AliasServiceAsyncStub]:
    application = Application(
        settings=ServiceSettings(),
        services=[
            Service(
                name=SERVICE,
                servicer=AliasServicer(store),
                add=add_AliasServiceServicer_to_server,
            )
        ],
        roles=ROLES,
    )
    async with (
        running_server(application) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield AliasServiceStub(channel)


def setting(
    model: str, *, name: str = NAME, preload: bool | None = None, expected: int | None = None
) -> pb.SetAliasRequest:
    alias = Alias(name=name, model=f"models/{model}", preload=preload)
    return pb.SetAliasRequest(alias=alias, expected_version=expected)


async def refused(call: Awaitable[Message]) -> tuple[str, str, str]:
    """Return code, reason and message."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return caught.value.code().name, info.reason, str(caught.value.details())


async def test_an_alias_is_switched_and_its_history_told(aliases: AliasServiceAsyncStub) -> None:
    first = await aliases.SetAlias(setting("one"))
    second = await aliases.SetAlias(setting("two", preload=True))
    again = await aliases.SetAlias(setting("two", preload=True))
    read = await aliases.GetAlias(pb.GetAliasRequest(name=NAME))
    history = await aliases.ListAliasVersions(pb.ListAliasVersionsRequest(parent=NAME))

    assert (first.name, first.model, first.version) == (NAME, "models/one", 1)
    assert (second.model, second.version, second.preload) == ("models/two", 2, True)
    assert again == read == second
    assert second.update_time.ToNanoseconds() > first.update_time.ToNanoseconds()
    newest, oldest = history.versions
    assert newest.name == f"{NAME}/versions/2"
    assert (newest.previous_model, newest.model, newest.preload) == (
        "models/one",
        "models/two",
        True,
    )
    assert (oldest.previous_model, oldest.model, oldest.actor) == ("", "models/one", "anyone")


async def test_a_switch_leaves_preload_as_it_was(aliases: AliasServiceAsyncStub) -> None:
    new = await aliases.SetAlias(setting("one"))
    ahead = await aliases.SetAlias(setting("one", preload=True))
    switched = await aliases.SetAlias(setting("two"))
    no_longer = await aliases.SetAlias(setting("two", preload=False))

    answers = [new, ahead, switched, no_longer]
    assert [answer.preload for answer in answers] == [False, True, True, False]
    assert [answer.version for answer in answers] == [1, 2, 3, 4]


async def test_a_rollback_is_a_new_version(aliases: AliasServiceAsyncStub) -> None:
    for model in ("one", "two", "three"):
        await aliases.SetAlias(setting(model))

    before = await aliases.RollbackAlias(pb.RollbackAliasRequest(name=NAME))
    given = await aliases.RollbackAlias(pb.RollbackAliasRequest(name=NAME, version=1))
    missing = await refused(aliases.RollbackAlias(pb.RollbackAliasRequest(name=NAME, version=9)))
    history = await aliases.ListAliasVersions(pb.ListAliasVersionsRequest(parent=NAME))

    assert (before.model, before.version) == ("models/two", 4)
    assert (given.model, given.version) == ("models/one", 5)
    assert [version.restored_version for version in history.versions] == [1, 2, 0, 0, 0]
    assert missing[:2] == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    assert "aliases history" in missing[2]


async def test_a_deleted_alias_is_gone_and_can_be_brought_back(
    aliases: AliasServiceAsyncStub,
) -> None:
    await aliases.SetAlias(setting("one"))
    await aliases.DeleteAlias(pb.DeleteAliasRequest(name=NAME))
    gone = await refused(aliases.GetAlias(pb.GetAliasRequest(name=NAME)))
    twice = await refused(aliases.DeleteAlias(pb.DeleteAliasRequest(name=NAME)))
    listed = await aliases.ListAliases(pb.ListAliasesRequest())
    deletion = await refused(aliases.RollbackAlias(pb.RollbackAliasRequest(name=NAME, version=2)))
    back = await aliases.RollbackAlias(pb.RollbackAliasRequest(name=NAME))

    assert gone[0] == twice[0] == "NOT_FOUND"
    assert "aliases rollback" in gone[2]
    assert list(listed.aliases) == []
    assert deletion[:2] == ("FAILED_PRECONDITION", "STATE_CONFLICT")
    assert (back.model, back.version) == ("models/one", 3)


async def test_there_must_be_something_to_go_back_to(aliases: AliasServiceAsyncStub) -> None:
    never = await refused(aliases.RollbackAlias(pb.RollbackAliasRequest(name=NAME)))
    await aliases.SetAlias(setting("one"))
    first = await refused(aliases.RollbackAlias(pb.RollbackAliasRequest(name=NAME)))

    assert never[0] == "NOT_FOUND"
    assert first[:2] == ("FAILED_PRECONDITION", "STATE_CONFLICT")


async def test_of_callers_who_expect_the_same_version_one_wins(
    aliases: AliasServiceAsyncStub,
) -> None:
    await aliases.SetAlias(setting("one", expected=0))

    calls = [setting(["two", "three"][number % 2], expected=1) for number in range(8)]
    answers = await asyncio.gather(
        *[aliases.SetAlias(call) for call in calls], return_exceptions=True
    )
    after = await aliases.GetAlias(pb.GetAliasRequest(name=NAME))

    won = [answer for answer in answers if isinstance(answer, Alias)]
    lost = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert after.version == 2
    # Those who wanted the same have what they wanted.
    assert won == [after] * 4
    assert [error.code() for error in lost] == [grpc.StatusCode.ABORTED] * 4


async def test_callers_who_expect_nothing_all_have_their_turn(
    aliases: AliasServiceAsyncStub,
) -> None:
    calls = [setting("one", preload=False), setting("two"), setting("three"), setting("two")]

    answers = await asyncio.gather(*[aliases.SetAlias(call) for call in calls])
    history = await aliases.ListAliasVersions(pb.ListAliasVersionsRequest(parent=NAME))

    numbers = [version.version for version in history.versions]
    assert numbers == list(range(len(numbers), 0, -1))
    assert [answer.model for answer in answers] == [call.alias.model for call in calls]


@pytest.mark.parametrize(
    ("expected", "says"), [(0, "though it should not be"), (7, "at version 1")]
)
async def test_an_expectation_that_is_wrong_is_told(
    aliases: AliasServiceAsyncStub, expected: int, says: str
) -> None:
    await aliases.SetAlias(setting("one"))

    switched = await refused(aliases.SetAlias(setting("two", expected=expected)))
    deleted = await refused(
        aliases.DeleteAlias(pb.DeleteAliasRequest(name=NAME, expected_version=expected))
    )

    assert switched[:2] == deleted[:2] == ("ABORTED", "ETAG_MISMATCH")
    assert says in switched[2]


async def test_an_alias_stands_for_what_can_be_used(
    aliases: AliasServiceAsyncStub, store: ObjectStore
) -> None:
    store.put(layout.model_pending("default", "young"), b"{}")
    publish_tiny_model(store, "rival", "theirs")

    young = await refused(aliases.SetAlias(setting("young")))
    missing = await refused(aliases.SetAlias(setting("none")))
    foreign = await refused(aliases.SetAlias(setting("theirs")))
    await aliases.SetAlias(setting("one"))
    await aliases.SetAlias(setting("two"))
    store.delete(layout.model_manifest("default", "one"))
    back = await refused(aliases.RollbackAlias(pb.RollbackAliasRequest(name=NAME)))

    assert young[:2] == ("FAILED_PRECONDITION", "MODEL_NOT_READY")
    assert missing[0] == foreign[0] == back[0] == "NOT_FOUND"


async def test_everything_wrong_is_told_at_once(aliases: AliasServiceAsyncStub) -> None:
    wrong = pb.SetAliasRequest(alias=Alias(name="reviews", model="datasets/x"), expected_version=-1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await aliases.SetAlias(wrong)
    trailers = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)

    assert [violation.field for violation in bad.field_violations] == [
        "alias.name",
        "alias.model",
        "expected_version",
    ]
    assert "aliases/reviews" in bad.field_violations[0].description


async def test_lists_come_in_pages(aliases: AliasServiceAsyncStub) -> None:
    for name in ("b", "a", "c"):
        await aliases.SetAlias(setting("one", name=f"aliases/{name}"))
    await aliases.SetAlias(setting("two", name="aliases/a"))

    first = await aliases.ListAliases(pb.ListAliasesRequest(page_size=2))
    second = await aliases.ListAliases(
        pb.ListAliasesRequest(page_size=2, page_token=first.next_page_token)
    )
    newest = await aliases.ListAliasVersions(
        pb.ListAliasVersionsRequest(parent="aliases/a", page_size=1)
    )
    oldest = await aliases.ListAliasVersions(
        pb.ListAliasVersionsRequest(
            parent="aliases/a", page_size=1, page_token=newest.next_page_token
        )
    )

    assert [alias.name for alias in first.aliases] == ["aliases/a", "aliases/b"]
    assert first.aliases[0].model == "models/two"
    assert [alias.name for alias in second.aliases] == ["aliases/c"]
    assert second.next_page_token == oldest.next_page_token == ""
    assert [version.version for version in (*newest.versions, *oldest.versions)] == [2, 1]
