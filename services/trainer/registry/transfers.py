"""Bundles on the wire: what goes out piece by piece, and what comes in.

Knows the messages of both streams, not what a bundle holds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, TypeVar

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from services.common import layout, manifests, names
from services.common.chunks import Chunks
from services.common.errors import (
    FieldViolation,
    InvalidArgument,
    Reason,
    Unavailable,
)
from services.common.identity import Principal
from services.common.names import Collection
from services.common.pace import paced
from services.common.requests import check_request_id
from services.common.slots import Slots
from services.common.storage import ObjectStore
from services.trainer.models import Request
from services.trainer.registry.bundle import Archive, Place, pack
from services.trainer.registry.importing import Imports, ImportWish
from services.trainer.registry.limits import Limits
from services.trainer.registry.readiness import require_ready
from services.trainer.scratch import Scratch
from services.trainer.tables import ModelRow

MAX_DATA_BYTES = 1 << 20
"""Of one message."""

_RETRY_SECONDS = 5.0

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
        with self._slots.taken(principal.tenant), ExitStack() as stack:
            incoming = _Incoming(self.limits.import_bytes)
            stack.callback(incoming.close)
            async for request in paced(requests, self.limits.pace, lambda sent: len(sent.data)):
                if not incoming.begun:
                    _check(request)
                    directory = stack.enter_context(Scratch(self._scratch, "import"))
                    incoming.begin(request, directory)
                await asyncio.to_thread(_on_scratch, lambda sent=request: incoming.add(sent))
            return await _to_its_end(lambda: incoming.become_model(self._imports, principal))

    def _pack(self, tenant: str, model: str, *, texts: bool) -> Archive:
        require_ready(
            self._store, tenant=tenant, model=model, because="only a READY one can be exported"
        )
        key = layout.model_manifest(tenant, model)
        manifest = manifests.read_manifest(self._store, key, ModelManifest)
        place = Place(tenant=tenant, model=model, attempt=manifest.attempt, token=manifest.token)
        return pack(self._store, manifest, place, texts=texts)


class _Incoming:
    """A bundle on its way in, kept in a file."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._first = pb.ImportModelRequest()
        self._path = Path()

    @property
    def begun(self) -> bool:
        """Whether a first message came."""
        return self._file is not None

    def begin(self, request: pb.ImportModelRequest, directory: Path) -> None:
        self._first = pb.ImportModelRequest(
            display_name=request.display_name, request_id=request.request_id
        )
        self._path = directory / "bundle.tar"
        self._file = self._path.open("wb")

    def add(self, request: pb.ImportModelRequest) -> None:
        if len(request.data) > MAX_DATA_BYTES:
            raise InvalidArgument(
                FieldViolation(
                    field="data",
                    description=f"has {len(request.data)} bytes: send {MAX_DATA_BYTES} at most in "
                    "one message.",
                    reason=Reason.LIMIT_EXCEEDED,
                )
            )
        self._size += len(request.data)
        if self._size > self._limit:
            raise InvalidArgument(
                FieldViolation(
                    field="data",
                    description=f"the bundle is larger than the {self._limit} bytes that this "
                    "server takes (ISOGLOSS_TRAINER_IMPORT_MAX_BYTES).",
                    reason=Reason.LIMIT_EXCEEDED,
                )
            )
        self._digest.update(request.data)
        if self._file is not None:
            self._file.write(request.data)

    def become_model(self, imports: Imports, principal: Principal) -> ModelRow:
        if self._file is None:
            raise InvalidArgument(
                FieldViolation(field="data", description="is required: nothing came.")
            )
        self._file.close()
        self._first.data = self._digest.digest()
        request = Request(
            actor=principal.name,
            request_id=self._first.request_id,
            fingerprint=self._first.SerializeToString(deterministic=True),
        )
        wish = ImportWish(tenant=principal.tenant, display_name=self._first.display_name)
        return _on_scratch(lambda: imports.take(self._path, wish, request))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _check(request: pb.ImportModelRequest) -> None:
    """See that the first message is right, before the rest comes."""
    violations = check_request_id(request.request_id)
    if request.display_name:
        violations += names.check_display_name(request.display_name)
    if violations:
        raise InvalidArgument(violations)


def _on_scratch(work: Callable[[], T]) -> T:
    """Do what needs the scratch disk.

    Raises:
        Unavailable: Where the disk fails or is full.
    """
    try:
        return work()
    except OSError as error:
        raise Unavailable(
            "The scratch directory of this server does not work, or is full: try again, or ask "
            "its operator to see that it has three times the bundle's size free.",
            metadata={"dependency": "scratch"},
            retry_after=_RETRY_SECONDS,
        ) from error


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
