"""What was learnt of examples that came lately: calls with the same examples learn them once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from services.inference.engine import FloatArray
from services.inference.fewshot.examples import Examples
from services.inference.fewshot.head import Head
from services.inference.model import Model
from services.inference.tokenization import Truncation

MAX_BYTES = 64 * 1024**2
"""Memory of all of them together: 5 of the largest, of 2,500 examples and 1,250 labels on 768
numbers, and thousands of ordinary ones."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learnt:
    """What examples make."""

    head: Head
    vectors: FloatArray
    """Of the examples, of shape (examples, dimension): by these it is explained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadKey:
    """Equal keys have equal heads."""

    tenant: str
    """Others learn from the time of an answer nothing about this one's examples."""

    model: str
    """Full resource name: others with the same graph may clean or tokenise texts differently."""

    digest: str
    """Of the graph that reads the examples."""

    truncation: Truncation
    examples: bytes
    """Digest of texts and labels."""


def head_key(tenant: str, model: Model, truncation: Truncation, examples: Examples) -> HeadKey:
    """Return the key of examples as a model reads them."""
    whole = hashlib.sha256()
    for part in (*examples.texts, *examples.labels):
        encoded = part.encode(errors="surrogatepass")
        whole.update(len(encoded).to_bytes(8, "little"))
        whole.update(encoded)
    return HeadKey(
        tenant=tenant,
        model=model.name,
        digest=model.digest,
        truncation=truncation,
        examples=whole.digest(),
    )


class Heads:
    """What was learnt by key, that used longest ago goes first. Thread safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Keep at most so many bytes."""
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._heads: OrderedDict[HeadKey, Learnt] = OrderedDict()
        self._bytes = 0

    def get(self, key: HeadKey) -> Learnt | None:
        """Return what was learnt, or None where it is not known."""
        with self._lock:
            learnt = self._heads.get(key)
            if learnt is not None:
                self._heads.move_to_end(key)
            return learnt

    def keep(self, key: HeadKey, learnt: Learnt) -> None:
        """Keep what was learnt, and let go of others where there is no room."""
        with self._lock:
            replaced = self._heads.pop(key, None)
            self._bytes += _size(learnt) - (_size(replaced) if replaced else 0)
            self._heads[key] = learnt
            while self._bytes > self._max_bytes:
                _, oldest = self._heads.popitem(last=False)
                self._bytes -= _size(oldest)


def _size(learnt: Learnt) -> int:
    return learnt.head.weights.nbytes + learnt.head.bias.nbytes + learnt.vectors.nbytes
