"""Models and aliases over one store, put together: what is asked for by name comes from here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.common.storage import ObjectStore
from services.inference.aliases import Aliases
from services.inference.engine import Engines
from services.inference.fetched.download import Downloader
from services.inference.fetched.file_cache import FileCache
from services.inference.fetched.guarded_store import GuardedStore
from services.inference.fetched.published import Manifests
from services.inference.fetched.records import Records
from services.inference.models import Models
from services.inference.neighbours.fetching import NeighbourReader
from services.inference.opening import Opener


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What this process can serve."""

    models: Models
    aliases: Aliases
    store: GuardedStore

    def close(self) -> None:
        """End the threads; what is loading is not waited for."""
        self.models.close()
        self.store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a library may take."""

    disk: int
    """Bytes of all model files on this machine's disk."""

    memory: int
    """Bytes of all models in memory."""


def open_library(
    open_store: Callable[[], ObjectStore],
    engines: Engines,
    directory: Path,
    bounds: Bounds,
    *,
    poll_seconds: float = 1.0,
    step_back: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Library:
    """Open the store and what is kept of it.

    Args:
        open_store: Opens the store; called again while it does not answer.
        engines: Where models are computed.
        directory: For files and records, which outlive the process; made where it is missing.
        bounds: What may be taken.
        poll_seconds: How often aliases are looked at.
        step_back: Whether opening a model leaves the processors to those who are served.
        clock: Seconds that only grow.

    Raises:
        Unavailable: Where the store does not answer and nothing is kept of it.
        UnsuitableStore: Where it is none to use.
    """
    records = Records(directory / "records")
    store = GuardedStore(open_store, clock=clock)
    if store.outage is not None and not records:
        store.close()
        raise store.outage
    cache = FileCache(directory / "files", max_bytes=bounds.disk)
    downloader = Downloader(store)
    opener = Opener(
        cache=cache,
        downloader=downloader,
        engines=engines,
        neighbours=NeighbourReader(store, cache, downloader, clock=clock),
    )
    models = Models(
        store,
        Manifests(store, records),
        opener,
        max_bytes=bounds.memory,
        step_back=step_back,
        clock=clock,
    )
    aliases = Aliases(store, models, records, poll_seconds=poll_seconds, clock=clock)
    return Library(models=models, aliases=aliases, store=store)
