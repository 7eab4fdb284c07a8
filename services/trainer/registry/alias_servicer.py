"""`isogloss.v1.AliasService`: parse, call, convert."""

# ruff: noqa: N802, ARG002 (names and signatures are gRPC's)

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc.aio import ServicerContext

from isogloss.v1 import alias_service_pb2 as pb
from isogloss.v1.alias_pb2 import Alias
from isogloss.v1.alias_service_pb2_grpc import AliasServiceServicer
from services.common import pagination
from services.common.identity import Role, current_principal
from services.common.storage import ObjectStore
from services.trainer.registry import alias_convert as convert
from services.trainer.registry.aliases import Aliases
from services.trainer.registry.switching import Switching

SERVICE = "isogloss.v1.AliasService"

ROLES = {
    f"/{SERVICE}/SetAlias": Role.WRITE,
    f"/{SERVICE}/GetAlias": Role.READ,
    f"/{SERVICE}/ListAliases": Role.READ,
    f"/{SERVICE}/ListAliasVersions": Role.READ,
    f"/{SERVICE}/RollbackAlias": Role.WRITE,
    f"/{SERVICE}/DeleteAlias": Role.WRITE,
}

Context = ServicerContext[Any, Any]


class AliasServicer(AliasServiceServicer):
    """Answers the calls; the store is asked in threads.

    Args:
        store: Where aliases and models are.
    """

    def __init__(self, store: ObjectStore) -> None:
        """Make the parts."""
        self._aliases = Aliases(store)
        self._switching = Switching(store)

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> Alias:
        """Let an alias stand for a model."""
        change, model = convert.switch(request, current_principal())
        preload = request.alias.preload if request.alias.HasField("preload") else None
        record = await asyncio.to_thread(self._switching.set, change, model=model, preload=preload)
        return convert.alias(change.alias, record)

    async def GetAlias(self, request: pb.GetAliasRequest, context: Context) -> Alias:
        """Read one alias."""
        alias = convert.alias_id(request.name)
        record = await asyncio.to_thread(self._aliases.get, current_principal().tenant, alias)
        return convert.alias(alias, record)

    async def ListAliases(
        self, request: pb.ListAliasesRequest, context: Context
    ) -> pb.ListAliasesResponse:
        """List aliases, by name."""
        tenant = current_principal().tenant
        page = pagination.page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListAliases", tenant),
        )
        found = await asyncio.to_thread(self._aliases.list, tenant, page)
        return pb.ListAliasesResponse(
            aliases=[convert.alias(alias, record) for alias, record in found.items],
            next_page_token=found.next_page_token,
        )

    async def ListAliasVersions(
        self, request: pb.ListAliasVersionsRequest, context: Context
    ) -> pb.ListAliasVersionsResponse:
        """List what an alias stood for, newest first."""
        tenant, alias = current_principal().tenant, convert.alias_id(request.parent, field="parent")
        page = pagination.page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListAliasVersions", tenant, alias),
        )
        found = await asyncio.to_thread(self._aliases.versions, tenant, alias, page)
        return pb.ListAliasVersionsResponse(
            versions=[convert.version(alias, record) for record in found.items],
            next_page_token=found.next_page_token,
        )

    async def RollbackAlias(self, request: pb.RollbackAliasRequest, context: Context) -> Alias:
        """Set an alias to what it was."""
        change = convert.change(request, current_principal())
        record = await asyncio.to_thread(self._switching.rollback, change, request.version)
        return convert.alias(change.alias, record)

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> Empty:
        """Delete an alias; the model stays."""
        change = convert.change(request, current_principal())
        await asyncio.to_thread(self._switching.delete, change)
        return Empty()
