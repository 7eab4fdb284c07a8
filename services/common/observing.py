"""What operators are told while a server runs, as the settings have it: metrics and spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from prometheus_client.registry import Collector

from services.common.interceptor import CallObserver
from services.common.metrics import CallMetrics, expose, new_registry
from services.common.settings import ServiceSettings
from services.common.tracing import Tracing


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Who watches the calls of a server."""

    observers: Sequence[CallObserver]
    tracing: Tracing | None


@asynccontextmanager
async def observed(
    settings: ServiceSettings, collectors: Sequence[Collector]
) -> AsyncIterator[Observation]:
    """Expose metrics and send spans while the block runs.

    Args:
        settings: Where to; both are off where they name no place.
        collectors: What the service adds to the metrics.

    Raises:
        OSError: Where the address of the metrics cannot be listened on.
    """
    observers: list[CallObserver] = []
    tracing = None
    async with AsyncExitStack() as stack:
        if settings.metrics_address:
            registry = new_registry(collectors)
            observers.append(CallMetrics(registry))
            stack.push_async_callback(asyncio.to_thread, expose(registry, settings))
        if settings.trace_endpoint:
            tracing = Tracing(settings)
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        yield Observation(observers=observers, tracing=tracing)
