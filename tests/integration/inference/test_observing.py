"""What Prometheus scrapes and a collector of spans is sent, from a running service."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from isogloss.v1 import inference_service_pb2 as pb
from services.common.storage import ObjectStore
from tests.engines import free_ports
from tests.integration.inference.serving import TIMEOUT, serving
from tests.tiny_model import publish_tiny_model

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "inference.json"
MODEL = "models/tone"


class Collector(TraceServiceServicer):
    """A collector of spans that keeps them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()

    async def Export(  # noqa: N802 (the rpc's name)
        self,
        request: ExportTraceServiceRequest,
        context: ServicerContext[ExportTraceServiceRequest, ExportTraceServiceResponse],  # noqa: ARG002
    ) -> ExportTraceServiceResponse:
        for resource in request.resource_spans:
            self.services |= {
                item.value.string_value
                for item in resource.resource.attributes
                if item.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    collector = Collector()
    server = grpc.aio.server()
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)


def scrape(port: int) -> dict[str, float]:
    """Return every sample by name and labels, as Prometheus reads them."""
    answer = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT)
    assert answer.status == 200
    lines = [line for line in answer.data.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_metrics_tell_calls_texts_phases_and_models(
    tmp_path: Path, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone")
    (port,) = free_ports(1)
    async with serving(tmp_path, metrics_address=f"127.0.0.1:{port}") as running:
        before = await asyncio.to_thread(scrape, port)
        for texts in (["order late"], ["refund now", "great"]):
            await running.stub.Embed(pb.EmbedRequest(model=MODEL, texts=texts), timeout=TIMEOUT)
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stub.Embed(pb.EmbedRequest(model=MODEL), timeout=TIMEOUT)
        after = await asyncio.to_thread(scrape, port)

    method = 'method="isogloss.v1.InferenceService/Embed"'
    assert before["isogloss_inference_texts_total"] == 0
    assert after["isogloss_inference_texts_total"] == 3
    assert after[f'isogloss_calls_total{{code="OK",{method}}}'] == 2
    assert after[f'isogloss_calls_total{{code="INVALID_ARGUMENT",{method}}}'] == 1
    assert after[f"isogloss_call_seconds_count{{{method}}}"] == 3
    assert after["isogloss_inference_resident_models"] == 1
    assert after["isogloss_inference_resident_bytes"] > 0
    assert after["isogloss_inference_store_up"] == 1
    assert (
        after['isogloss_inference_phase_seconds_count{phase="infer",priority="interactive"}'] == 2
    )
    assert after['isogloss_inference_phase_seconds_sum{phase="infer",priority="interactive"}'] > 0
    assert not any(word in name for name in after for word in ("tone", "default", "order"))


async def test_every_metric_of_the_dashboard_exists(tmp_path: Path, store: ObjectStore) -> None:
    publish_tiny_model(store, "default", "tone")
    (port,) = free_ports(1)
    async with serving(tmp_path, metrics_address=f"127.0.0.1:{port}") as running:
        await running.stub.Embed(pb.EmbedRequest(model=MODEL, texts=["late"]), timeout=TIMEOUT)
        samples = await asyncio.to_thread(scrape, port)

    names = {name.partition("{")[0] for name in samples}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    used = {name for query in queries for name in re.findall(r"\b(?:isogloss|process)_\w+", query)}
    assert len(used) > 15
    assert used <= names


async def test_a_call_is_a_span_of_its_callers_trace(tmp_path: Path, store: ObjectStore) -> None:
    publish_tiny_model(store, "default", "tone")
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    metadata = (("traceparent", f"00-{trace}-{parent}-01"),)
    unsampled = (("traceparent", f"00-{trace}-{parent}-00"),)
    async with collecting() as (collector, endpoint):
        async with serving(tmp_path, trace_endpoint=endpoint, trace_share=0.0) as running:
            asked = pb.EmbedRequest(model=MODEL, texts=["order late", "great"])
            await running.stub.Embed(asked, timeout=TIMEOUT, metadata=metadata)
            # Its caller does not keep it, and of those without a caller none is kept.
            await running.stub.Embed(asked, timeout=TIMEOUT, metadata=unsampled)
            await running.stub.Embed(asked, timeout=TIMEOUT)

        (span,) = collector.spans
    assert collector.services == {"inference"}
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)
    assert span.name == "isogloss.v1.InferenceService/Embed"
    assert span.kind == Span.SPAN_KIND_SERVER
    told = {item.key: item.value for item in span.attributes}
    assert told["isogloss.texts"].int_value == 2
    assert told["isogloss.model"].string_value == MODEL
    assert told["rpc.grpc.status_code"].int_value == 0
    assert told["isogloss.infer_seconds"].double_value > 0


async def test_calls_do_not_wait_for_a_collector_that_is_down(
    tmp_path: Path, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone")
    (port,) = free_ports(1)
    async with serving(tmp_path, trace_endpoint=f"http://127.0.0.1:{port}") as running:
        asked = pb.EmbedRequest(model=MODEL, texts=["order late"])
        answer = await running.stub.Embed(asked, timeout=TIMEOUT)
        stopping = time.monotonic()

    assert len(answer.results) == 1
    # Kubernetes kills what takes longer; spans are not worth that.
    assert time.monotonic() - stopping < 20


async def test_a_refusal_is_no_fault_of_the_server(tmp_path: Path) -> None:
    async with collecting() as (collector, endpoint):
        async with serving(tmp_path, trace_endpoint=endpoint) as running:
            with pytest.raises(grpc.aio.AioRpcError):
                await running.stub.Embed(pb.EmbedRequest(model=MODEL), timeout=TIMEOUT)
        (span,) = collector.spans

    assert span.status.code == Status.STATUS_CODE_UNSET
