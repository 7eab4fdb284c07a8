"""Bundles on the wire: what goes out piece by piece, and what comes in.

Knows the messages of both streams, not what a bundle holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from services.common import layout, manifests, names
from services.common.chunks import Chunks
from services.common.identity import Principal
from services.common.names import Collection
from services.common.pace import paced
from services.common.slots import Slots
from services.common.storage import ObjectStore
from services.trainer.registry.bundle import Archive, Place, pack
from services.trainer.registry.importing import Imports
from services.trainer.registry.incoming import Incoming
from services.trainer.registry.limits import Limits
from services.trainer.registry.readiness import require_ready
from services.trainer.tables import ModelRow

T = TypeVar("T")


class Transfers:
    """Sends and takes bundles.

    Args:
        store: Where the models are.
        imports: Makes models of what came in.
        scratch: Where that is kept meanwhile.
        limits: What transfers may take.
    """

    def __init__(
        self, store: ObjectStore, imports: Imports, *, scratch: Path, limits: Limits
    ) -> None:
        """Keep the parts."""
        self._store = store
        self._imports = imports
        self._scratch = scratch
        self._slots = Slots(limits.concurrent, what="transfers of bundles")
        self.limits = limits

    async def send(
        self, request: pb.ExportModelRequest, principal: Principal
    ) -> AsyncGenerator[pb.ExportModelResponse]:
        """Yield a model as a bundle, message by message.

        Raises:
            NotFound, FailedPrecondition: Where it does not exist or is not READY, or where its
                texts are asked for and gone.
            ResourceExhausted: Where as many transfers are in progress as may be.
        """
        model = names.parse(request.name, Collection.MODELS).id
        with self._slots.taken(principal.tenant):
            archive = await asyncio.to_thread(
                self._pack, principal.tenant, model, texts=request.include_examples
            )
            chunks = Chunks(archive.chunks())
            size = archive.size_bytes
            try:
                while data := await asyncio.to_thread(chunks.next):
                    yield pb.ExportModelResponse(data=data, size_bytes=size)
                    size = 0  # said once
            finally:
                await asyncio.to_thread(chunks.close)

    async def take(
        self, requests: AsyncIterator[pb.ImportModelRequest], principal: Principal
    ) -> ModelRow:
        """Make a model of the bundle that a caller sends.

        Raises:
            InvalidArgument: Where the bundle or the request is wrong.
            AlreadyExists: Where another request had this one's id.
            DeadlineExceeded: Where the caller is too slow.
            ResourceExhausted: Where as many transfers are in progress as may be.
            Unavailable: Where the store, the database or the scratch disk does not work.
        """
        incoming = Incoming(self._scratch, self.limits.import_bytes)
        with self._slots.taken(principal.tenant):
            try:
                async for request, data in paced(requests, self.limits.pace):
                    await _to_its_end(partial(incoming.add, request, data))
                return await _to_its_end(partial(incoming.become_model, self._imports, principal))
            finally:
                await _to_its_end(incoming.close)

    def _pack(self, tenant: str, model: str, *, texts: bool) -> Archive:
        require_ready(
            self._store, tenant=tenant, model=model, because="only a READY one can be exported"
        )
        key = layout.model_manifest(tenant, model)
        manifest = manifests.read_manifest(self._store, key, ModelManifest)
        place = Place(tenant=tenant, model=model, attempt=manifest.attempt, token=manifest.token)
        return pack(self._store, manifest, place, texts=texts)


async def _to_its_end(work: Callable[[], T]) -> T:
    """Do `work` in a thread; where the call ends before it, wait for it all the same.

    What it works on is so never removed under its hands.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
