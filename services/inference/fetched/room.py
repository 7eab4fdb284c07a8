"""What is told where a disk or a share of it is full. Makes no room."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.errors import Reason, ResourceExhausted
from services.inference.artifact import Artifact


@contextmanager
def room_on_disk(artifact: Artifact, directory: Path) -> Iterator[None]:
    """Write what a file takes in the block.

    Args:
        artifact: The file.
        directory: On the disk that is written to.

    Raises:
        ResourceExhausted: Where the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise full(
            f"The disk below {directory} has no room for a file of {artifact.size} bytes. Let "
            "the operator free some, or lower ISOGLOSS_INFERENCE_CACHE_BYTES.",
            artifact,
            0,
        ) from error


def full(message: str, artifact: Artifact, limit: int) -> ResourceExhausted:
    """Return the error of a file that has no room.

    Args:
        message: What is full, and what to do.
        artifact: The file.
        limit: Bytes that there may be; 0 where that is not known.
    """
    return ResourceExhausted(
        message,
        reason=Reason.LIMIT_EXCEEDED,
        metadata={"size": str(artifact.size), "limit": str(limit)},
    )
