"""Spans of calls, in the caller's trace, sent by OTLP to wherever the operator wants them.

A span tells the method, the status and what a service adds about its time; never texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common.settings import ServiceSettings
from services.common.version import server_version

_SERVER_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Codes that make a server's span an error, by OpenTelemetry's conventions for gRPC."""


_EXPORT_SECONDS = 5.0
"""For one batch of spans, retries included: also how long the end of a server waits for it."""


class Tracing:
    """Spans of the calls of one server.

    Args:
        settings: Say where spans go and which share of traces that begin here is kept.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        """Start the thread that sends spans; a collector that is down costs spans only."""
        self._provider = TracerProvider(
            # Traces that began elsewhere are kept or not as they were there.
            sampler=ParentBased(TraceIdRatioBased(settings.trace_share)),
            resource=Resource.create(
                {
                    "service.namespace": "isogloss",
                    "service.name": settings.service,
                    "service.version": server_version(),
                }
            ),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=settings.trace_endpoint, timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("isogloss")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, method: str, metadata: Mapping[str, str]) -> Span:
        """Begin the span of a call and make it the current one of its task.

        Args:
            method: Full name, `/package.Service/Method`.
            metadata: Of the caller; `traceparent` says which trace it belongs to.
        """
        name = method.removeprefix("/")
        service, _, rpc = name.partition("/")
        span = self._tracer.start_span(
            name,
            context=self._propagator.extract(metadata),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": rpc},
        )
        # Every call is a task of its own, whose context ends with it.
        context.attach(trace.set_span_in_context(span))
        return span

    def close(self) -> None:
        """Send what is left and end the thread."""
        self._provider.shutdown()


def finish(span: Span, code: grpc.StatusCode) -> None:
    """End the span of a call."""
    number: Any = code.value[0]
    span.set_attribute("rpc.grpc.status_code", number)
    if code in _SERVER_FAULTS:
        span.set_status(Status(StatusCode.ERROR, code.name))
    span.end()


def annotate(attributes: Mapping[str, str | int | float]) -> None:
    """Add to the span of the call that is being answered, where there is one."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(attributes)
