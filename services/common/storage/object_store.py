"""The `ObjectStore` Protocol: what a store must do for manifests and artefacts.

Objects are immutable by convention: everything an attempt writes has a key of its own, and
the one manifest that publishes them is created only if absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias, runtime_checkable

CHUNK_BYTES = 1024 * 1024
"""Largest chunk that `get` yields: 1 MiB, so that a reader's memory is known."""

Content: TypeAlias = bytes | Sequence[bytes]
"""An object's bytes, or chunks of them."""

BeforeEnd: TypeAlias = Callable[[], None] | None
"""What `ObjectStore.create` calls."""


class UnsuitableStore(Exception):
    """The store cannot keep what `ObjectStore` promises; the service must not start on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What the store knows of one object."""

    key: str
    """Slash-separated path, relative to the store's root, never starting with a slash."""

    size: int
    """Bytes."""

    modified: datetime
    """When it became visible, in UTC."""


class ObjectStore(Protocol):
    """A flat namespace of byte strings. All methods are synchronous and thread safe.

    Transient faults are retried inside with jitter; what is left raises
    `services.common.errors.Unavailable`.
    """

    def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
        """Store `data`, streamed; the object is visible whole or not at all.

        Args:
            key: Where. An existing object is replaced.
            data: The bytes, or chunks of them; never held in memory as a whole.
        """
        ...

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        """Store `data` only if `key` is absent; of any number of racing callers one wins.

        Args:
            key: Where.
            data: The bytes, or chunks of them.
            before_end: Called when all but the end of `data`, which is not empty then, is on its
                way; again where that is sent again. The object does not exist before it returns,
                and what it raises is raised and leaves none. It may wait, but no longer than some
                seconds: a store gives up on a request that is silent for 20 or 30. It must not
                ask for `key`: a store may keep all others from a key that is being created.

        Returns:
            True where this call created the object, False where it existed already.
        """
        ...

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes in chunks of at most 1 MiB.

        Args:
            key: Which.
            offset: First byte to read, from 0.
            length: How many bytes at most; None reads to the end.

        Raises:
            NotFound: On the first iteration step, where `key` is absent.
        """
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of `key`, or None where it is absent."""
        ...

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, in code point order of the keys.

        Args:
            prefix: Any string, not only whole path segments.
            start_after: Yield only keys greater than this one.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; removing what is absent is no error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWrite:
    """One HTTP PUT that anybody may send who knows of it."""

    url: str
    headers: Mapping[str, str]
    """To be sent exactly: the signature covers them."""

    expire_time: datetime
    """In UTC."""


@runtime_checkable
class Presigner(Protocol):
    """A store that lets others write an object past this process; a directory does not."""

    def sign_create(self, key: str, *, size: int, seconds: int) -> SignedWrite:
        """Return the request that creates `key` if it is absent, with `size` bytes.

        The store answers it with 200, or 412 where `key` exists; another size or a request
        without the headers is refused.

        Args:
            key: Which.
            size: Bytes, exactly.
            seconds: How long the request may begin, up to a week.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundObject:
    """What an object is at one moment."""

    size: int
    """Bytes."""

    etag: str
    """Another one after the object was replaced."""


class Reader(Protocol):
    """Objects that others wrote and that this process only reads. Thread safe."""

    def find(self, key: str) -> FoundObject | None:
        """Return what `key` is at this moment, or None where it is absent.

        Raises:
            Unavailable: Where the store does not answer, or not to this process.
        """
        ...

    def read(self, key: str, *, offset: int, end: int, etag: str) -> Iterator[bytes]:
        """Yield bytes in chunks of at most 1 MiB.

        Args:
            key: Which.
            offset: First byte, from 0.
            end: Byte behind the last.
            etag: What `find` said it is.

        Raises:
            NotFound: Where it was removed or replaced since.
            Unavailable: Where the store does not answer; the reader may go on behind what came.
        """
        ...


def read_all(store: ObjectStore, key: str, *, limit: int) -> bytes:
    """Read a small object whole, such as a manifest.

    Args:
        store: Where from.
        key: Which.
        limit: Bytes; a larger object raises instead of filling the memory.

    Raises:
        NotFound: Where `key` is absent.
        ValueError: Where the object is larger than `limit`.
    """
    content = b"".join(store.get(key, length=limit + 1))
    if len(content) > limit:
        msg = f"{key} is larger than the {limit} bytes that were expected at most"
        raise ValueError(msg)
    return content
