"""A bundle on its way in: kept in the scratch directory, bounded, until it becomes a model.

Knows the messages of the stream; blocking, so for threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from isogloss.v1.model_service_pb2 import ImportModelRequest
from services.common import names
from services.common.errors import FieldViolation, InvalidArgument, Reason, Unavailable
from services.common.identity import Principal
from services.common.requests import check_request_id
from services.trainer.models import Request
from services.trainer.registry.importing import Imports, ImportWish
from services.trainer.scratch import Scratch
from services.trainer.tables import ModelRow

MAX_DATA_BYTES = 1 << 20
"""Of one message."""

_RETRY_SECONDS = 5.0


class Incoming:
    """What came of one bundle so far.

    Args:
        scratch: Where it is kept; nothing is made there before the first message.
        limit: Largest bundle, in bytes.
    """

    def __init__(self, scratch: Path, limit: int) -> None:
        """Wait for the first message."""
        self._scratch = scratch
        self._limit = limit
        self._kept = ExitStack()
        self._first: ImportModelRequest | None = None
        self._file: BinaryIO | None = None
        self._size = 0
        self._digest = hashlib.sha256()

    def add(self, request: ImportModelRequest, data: bytes) -> None:
        """Take one message and its data.

        Raises:
            InvalidArgument: Where it is wrong, or the bundle too large.
            Unavailable: Where the disk fails or is full.
        """
        if self._first is None:
            self._begin(request)
        elif request.display_name or request.request_id:
            raise InvalidArgument(
                FieldViolation(
                    field="display_name" if request.display_name else "request_id",
                    description="is for the first message only: leave it out.",
                )
            )
        self._check_size(data)
        self._size += len(data)
        self._digest.update(data)
        if self._file is not None:
            with _on_scratch():
                self._file.write(data)

    def become_model(self, imports: Imports, principal: Principal) -> ModelRow:
        """Make a model of what came.

        Raises:
            InvalidArgument: Where nothing came, or it is no bundle that can be taken.
            AlreadyExists: Where another request had this one's id.
            Unavailable: Where the store, the database or the disk does not work.
        """
        if self._first is None or self._file is None:
            raise InvalidArgument(
                FieldViolation(field="data", description="is required: nothing came.")
            )
        with _on_scratch():
            self._file.close()
        whole = ImportModelRequest(
            display_name=self._first.display_name, data=self._digest.digest()
        )
        request = Request(
            actor=principal.name,
            request_id=self._first.request_id,
            fingerprint=whole.SerializeToString(deterministic=True),
        )
        wish = ImportWish(tenant=principal.tenant, display_name=self._first.display_name)
        with _on_scratch():
            return imports.take(Path(self._file.name), wish, request)

    def close(self) -> None:
        """Remove what came."""
        self._kept.close()

    def _begin(self, request: ImportModelRequest) -> None:
        """Check what the first message says before the rest comes."""
        violations = check_request_id(request.request_id)
        if request.display_name:
            violations += names.check_display_name(request.display_name)
        if violations:
            raise InvalidArgument(violations)
        with _on_scratch():
            directory = self._kept.enter_context(Scratch(self._scratch, "import"))
            self._file = self._kept.enter_context((directory / "bundle.tar").open("wb"))
        self._first = ImportModelRequest(
            display_name=request.display_name, request_id=request.request_id
        )

    def _check_size(self, data: bytes) -> None:
        if len(data) > MAX_DATA_BYTES:
            problem = f"has {len(data)} bytes: send {MAX_DATA_BYTES} at most in one message."
        elif self._size + len(data) > self._limit:
            problem = (
                f"the bundle is larger than the {self._limit} bytes that this server takes "
                "(ISOGLOSS_TRAINER_IMPORT_MAX_BYTES)."
            )
        else:
            return
        raise InvalidArgument(
            FieldViolation(field="data", description=problem, reason=Reason.LIMIT_EXCEEDED)
        )


@contextmanager
def _on_scratch() -> Iterator[None]:
    """Tell a disk that fails from a fault of the program: the caller may try again.

    Raises:
        Unavailable: Where the disk fails or is full.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(
            "The scratch directory of this server does not work, or is full: try again, or ask "
            "its operator to see that it has three times the bundle's size free.",
            metadata={"dependency": "scratch"},
            retry_after=_RETRY_SECONDS,
        ) from error
