"""The methods of the alias service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property

from isogloss import convert
from isogloss.aliases import Alias, AliasVersion
from isogloss.api.dataset_reading import PAGE_SIZE
from isogloss.api.resources import name_of
from isogloss.models import Model
from isogloss.transport import Facade, Transport, blocking, blocking_stream
from isogloss.v1 import alias_pb2
from isogloss.v1 import alias_service_pb2 as pb
from isogloss.v1.alias_service_pb2_grpc import AliasServiceStub


class AsyncAliases:
    """Aliases: names that stand for one model at a time, and move without a client noticing.

    Every method takes `timeout`, in seconds; None is the client's default. What changes an alias
    takes `expected_version`: it is refused with `Aborted` where the alias is at another one, 0
    being none. None changes it in any case.
    """

    def __init__(self, transport: Transport) -> None:
        """Take what reaches the service."""
        self._transport = transport

    @cached_property
    def _stub(self) -> AliasServiceStub:
        return AliasServiceStub(self._transport.channel("trainer"))

    async def set(
        self,
        alias: str | Alias,
        model: str | Model,
        *,
        preload: bool | None = None,
        expected_version: int | None = None,
        timeout: float | None = None,
    ) -> Alias:
        """Let an alias stand for a READY model, whether the alias existed or not.

        Args:
            alias: `aliases/{alias}`.
            model: `models/{model}`.
            preload: Whether every inference server loads the model ahead; None leaves that as
                it was, and does not for a new alias.
            expected_version: See the class.
            timeout: Seconds.
        """
        request = pb.SetAliasRequest(
            alias=alias_pb2.Alias(name=name_of(alias), model=name_of(model), preload=preload),
            expected_version=expected_version,
        )
        return convert.alias(await self._transport.unary(self._stub.SetAlias, request, timeout))

    async def get(self, alias: str | Alias, *, timeout: float | None = None) -> Alias:
        """Read one alias."""
        request = pb.GetAliasRequest(name=name_of(alias))
        return convert.alias(await self._transport.unary(self._stub.GetAlias, request, timeout))

    async def list(self, *, timeout: float | None = None) -> AsyncIterator[Alias]:
        """Give all aliases, by name."""
        request = pb.ListAliasesRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._transport.unary(self._stub.ListAliases, request, timeout)
            for message in page.aliases:
                yield convert.alias(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def history(
        self, alias: str | Alias, *, timeout: float | None = None
    ) -> AsyncIterator[AliasVersion]:
        """Give what an alias stood for, newest first; also of an alias that was deleted."""
        request = pb.ListAliasVersionsRequest(parent=name_of(alias), page_size=PAGE_SIZE)
        while True:
            page = await self._transport.unary(self._stub.ListAliasVersions, request, timeout)
            for message in page.versions:
                yield convert.alias_version(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def rollback(
        self,
        alias: str | Alias,
        *,
        version: int = 0,
        expected_version: int | None = None,
        timeout: float | None = None,
    ) -> Alias:
        """Set an alias to what it was; brings a deleted one back.

        Args:
            alias: `aliases/{alias}`.
            version: The version to go back to. 0: the one before the current one.
            expected_version: See the class.
            timeout: Seconds.
        """
        request = pb.RollbackAliasRequest(
            name=name_of(alias), version=version, expected_version=expected_version
        )
        return convert.alias(
            await self._transport.unary(self._stub.RollbackAlias, request, timeout)
        )

    async def delete(
        self,
        alias: str | Alias,
        *,
        expected_version: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Delete an alias; its versions stay, and the model."""
        request = pb.DeleteAliasRequest(name=name_of(alias), expected_version=expected_version)
        await self._transport.unary(self._stub.DeleteAlias, request, timeout)


class Aliases(Facade[AsyncAliases]):
    """Aliases, blocking: the methods of `AsyncAliases`."""

    set = blocking(AsyncAliases.set)
    get = blocking(AsyncAliases.get)
    list = blocking_stream(AsyncAliases.list)
    history = blocking_stream(AsyncAliases.history)
    rollback = blocking(AsyncAliases.rollback)
    delete = blocking(AsyncAliases.delete)
