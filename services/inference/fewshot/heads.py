"""The heads of examples that came lately, so that calls with the same examples learn them once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from services.inference.fewshot.examples import Examples
from services.inference.fewshot.head import Head
from services.inference.tokenization import Truncation

MAX_BYTES = 64 * 1024**2
"""Memory of all heads together: 16 of the largest, of 1,250 labels on 768 numbers, and thousands of
ordinary ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadKey:
    """Equal keys have equal heads."""

    tenant: str
    """Others learn from the time of an answer nothing about this one's examples."""

    digest: str
    """Of the graph that reads the examples."""

    truncation: Truncation
    examples: bytes
    """Digest of texts and labels."""


def head_key(tenant: str, digest: str, truncation: Truncation, examples: Examples) -> HeadKey:
    """Return the key of examples as a graph reads them."""
    whole = hashlib.sha256()
    for part in (*examples.texts, *examples.labels):
        encoded = part.encode(errors="surrogatepass")
        whole.update(len(encoded).to_bytes(8, "little"))
        whole.update(encoded)
    return HeadKey(tenant=tenant, digest=digest, truncation=truncation, examples=whole.digest())


class Heads:
    """Heads by key, those used longest ago go first. Thread safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Keep at most so many bytes."""
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._heads: OrderedDict[HeadKey, Head] = OrderedDict()

    def get(self, key: HeadKey) -> Head | None:
        """Return the head, or None where it is not known."""
        with self._lock:
            head = self._heads.get(key)
            if head is not None:
                self._heads.move_to_end(key)
            return head

    def keep(self, key: HeadKey, head: Head) -> None:
        """Keep a head, and let go of others where there is no room."""
        with self._lock:
            self._heads[key] = head
            while sum(map(_size, self._heads.values())) > self._max_bytes:
                self._heads.popitem(last=False)


def _size(head: Head) -> int:
    return head.weights.nbytes + head.bias.nbytes
