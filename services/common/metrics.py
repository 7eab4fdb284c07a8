"""What Prometheus may scrape from a server, and the port where it does so.

Labels are bounded by construction: methods, codes, reasons. Neither texts nor tenants nor names of
models are among them. Knows no service: each adds its own collectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.registry import Collector

from services.common.settings import ServiceSettings, split_address

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Upper bounds of histograms: from an idle CPU's answer to one text, to a caller's patience."""


class CallMetrics:
    """Counts and times every call that ends; a `CallObserver`.

    Args:
        registry: What is scraped.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Count from zero."""
        self._calls = Counter(
            "isogloss_calls", "Calls that ended.", ["method", "code"], registry=registry
        )
        self._seconds = Histogram(
            "isogloss_call_seconds",
            "From the arrival of a call to its end.",
            ["method"],
            buckets=SECONDS,
            registry=registry,
        )

    def observe(self, *, method: str, code: grpc.StatusCode, seconds: float) -> None:
        """Note one call that ended."""
        name = method.removeprefix("/")
        self._calls.labels(name, code.name).inc()
        self._seconds.labels(name).observe(seconds)


def new_registry(collectors: Sequence[Collector]) -> CollectorRegistry:
    """Return a registry of this process and of what a service adds."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    for collector in collectors:
        registry.register(collector)
    return registry


def expose(registry: CollectorRegistry, settings: ServiceSettings) -> Callable[[], None]:
    """Let `registry` be scraped at the settings' `metrics_address`; return how to stop.

    Raises:
        OSError: Where the address cannot be listened on.
    """
    host, port = split_address(settings.metrics_address)
    ca = settings.tls_client_ca
    try:
        server, thread = start_http_server(
            port,
            host,
            registry,
            certfile=_path(settings.tls_certificate),
            keyfile=_path(settings.tls_key),
            client_cafile=_path(ca),
            client_auth_required=ca is not None,
        )
    except OSError as error:
        raise OSError(
            f"metrics_address {settings.metrics_address} cannot be listened on: "
            f"{error.strerror or error}"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _path(file: object) -> str | None:
    return None if file is None else str(file)
