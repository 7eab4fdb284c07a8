"""The three services as a script of the test plays them: real servers, real stubs, no logic."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import grpc
import numpy as np
from google.protobuf import empty_pb2
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from numpy.typing import NDArray

from isogloss.v1 import (
    base_model_pb2,
    label_mode_pb2,
    model_event_pb2,
    model_pb2,
    precision_pb2,
    vector_pb2,
)
from isogloss.v1 import inference_service_pb2 as ipb
from isogloss.v1 import model_service_pb2 as mpb
from isogloss.v1.alias_service_pb2_grpc import add_AliasServiceServicer_to_server
from isogloss.v1.dataset_service_pb2_grpc import add_DatasetServiceServicer_to_server
from isogloss.v1.inference_service_pb2_grpc import (
    InferenceServiceServicer,
    add_InferenceServiceServicer_to_server,
)
from isogloss.v1.model_service_pb2_grpc import (
    ModelServiceServicer,
    add_ModelServiceServicer_to_server,
)
from isogloss.v1.server_status_pb2 import ServerStatus
from tests.integration.client.answers import Context, abort, bad_request, refusal
from tests.integration.client.scripted_aliases import ScriptedAliases
from tests.integration.client.scripted_datasets import DATASET, ScriptedDatasets
from tests.integration.client.scripted_evaluations import ScriptedEvaluations

Model = model_pb2.Model

MODEL = "models/tone-xyz567"
DIMENSION = 4
BUNDLE = b"a bundle of a model" * 100


class Scripted(
    ScriptedAliases,
    ScriptedDatasets,
    ScriptedEvaluations,
    ModelServiceServicer,
    InferenceServiceServicer,
):
    """What the test set, and what it was asked."""

    def __init__(self) -> None:
        """Begin with a suite in which everything goes well."""
        super().__init__()
        self.models: list[Model] = [model()]
        self.events: list[mpb.WatchModelResponse] = []
        self.dimension = DIMENSION
        self.most_texts = 512
        self.lose_process_after: list[int] = []
        self.busy_requests: set[str] = set()
        self.imported: list[bytes] = []

    # Models.

    def ListBaseModels(  # noqa: N802
        self, request: mpb.ListBaseModelsRequest, context: Context
    ) -> mpb.ListBaseModelsResponse:
        self._asked("ListBaseModels", request, context)
        small = base_model_pb2.BaseModel(
            name="baseModels/small", display_name="all-MiniLM-L6-v2", dimension=384
        )
        return mpb.ListBaseModelsResponse(base_models=[small])

    def CreateModel(self, request: mpb.CreateModelRequest, context: Context) -> Model:  # noqa: N802
        self._asked("CreateModel", request, context)
        created = Model()
        created.CopyFrom(request.model)
        created.name = "" if request.validate_only else MODEL
        created.state = Model.STATE_QUEUED
        return created

    def GetModel(self, request: mpb.GetModelRequest, context: Context) -> Model:  # noqa: N802
        self._asked("GetModel", request, context)
        return self.models[0]

    def ListModels(  # noqa: N802
        self, request: mpb.ListModelsRequest, context: Context
    ) -> mpb.ListModelsResponse:
        self._asked("ListModels", request, context)
        return mpb.ListModelsResponse(models=self.models)

    def WatchModel(  # noqa: N802
        self, request: mpb.WatchModelRequest, context: Context
    ) -> Iterator[mpb.WatchModelResponse]:
        self._asked("WatchModel", request, context)
        room = self.lose_watch_after.pop(0) if self.lose_watch_after else 1 << 30
        for response in self.events:
            if response.HasField("event") and response.event.sequence <= request.after_sequence:
                continue
            if not room:
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
            yield response
            room -= 1

    def CancelModel(self, request: mpb.CancelModelRequest, context: Context) -> Model:  # noqa: N802
        self._asked("CancelModel", request, context)
        return model(Model.STATE_CANCELLED)

    def PauseModel(self, request: mpb.PauseModelRequest, context: Context) -> Model:  # noqa: N802
        self._asked("PauseModel", request, context)
        return model(Model.STATE_TRAINING)

    def ResumeModel(self, request: mpb.ResumeModelRequest, context: Context) -> Model:  # noqa: N802
        self._asked("ResumeModel", request, context)
        resumed = model(Model.STATE_QUEUED)
        resumed.queue_position = 3
        return resumed

    def UpdateModel(self, request: mpb.UpdateModelRequest, context: Context) -> Model:  # noqa: N802
        self._asked("UpdateModel", request, context)
        changed = model()
        changed.MergeFrom(request.model)
        return changed

    def ListModelEvents(  # noqa: N802
        self, request: mpb.ListModelEventsRequest, context: Context
    ) -> mpb.ListModelEventsResponse:
        self._asked("ListModelEvents", request, context)
        place = int(request.page_token or 0)
        events = [response.event for response in self.events]
        more = str(place + 2) if place + 2 < len(events) else ""
        return mpb.ListModelEventsResponse(events=events[place : place + 2], next_page_token=more)

    def ListStepMetrics(  # noqa: N802
        self, request: mpb.ListStepMetricsRequest, context: Context
    ) -> mpb.ListStepMetricsResponse:
        self._asked("ListStepMetrics", request, context)
        measured = [
            response.event.step_metrics
            for response in self.events
            if response.event.HasField("step_metrics")
        ]
        return mpb.ListStepMetricsResponse(step_metrics=measured)

    def DeleteModel(  # noqa: N802
        self, request: mpb.DeleteModelRequest, context: Context
    ) -> empty_pb2.Empty:
        self._asked("DeleteModel", request, context)
        self.deleted.append(request.name)
        return empty_pb2.Empty()

    def ExportModel(  # noqa: N802
        self, request: mpb.ExportModelRequest, context: Context
    ) -> Iterator[mpb.ExportModelResponse]:
        self._asked("ExportModel", request, context)
        yield mpb.ExportModelResponse(data=BUNDLE[:1000], size_bytes=len(BUNDLE))
        if self.lose_watch_after:
            self.lose_watch_after.pop()
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
        yield mpb.ExportModelResponse(data=BUNDLE[1000:])

    def ImportModel(  # noqa: N802
        self, request_iterator: Iterator[mpb.ImportModelRequest], context: Context
    ) -> Model:
        first = next(request_iterator)
        self._asked("ImportModel", first, context)
        self.imported.append(b"".join(request.data for request in request_iterator))
        imported = model()
        imported.display_name = first.display_name or imported.display_name
        return imported

    # Inference.

    def Embed(self, request: ipb.EmbedRequest, context: Context) -> ipb.EmbedResponse:  # noqa: N802
        self._asked("Embed", request, context)
        self._check(request.texts, context)
        return ipb.EmbedResponse(
            results=[
                ipb.EmbedResult(
                    vector=vector_pb2.Vector(packed=vector_of(text, self.dimension).tobytes()),
                    usage=ipb.TextUsage(token_count=len(text.split()) + 2),
                )
                for text in request.texts
            ],
            dimension=self.dimension,
            served_by=served(request.model),
        )

    def Classify(self, request: ipb.ClassifyRequest, context: Context) -> ipb.ClassifyResponse:  # noqa: N802
        self._asked("Classify", request, context)
        self._check(request.texts, context)
        scored = [
            ipb.ScoredLabel(label="negative", confidence=0.75),
            ipb.ScoredLabel(label="positive", confidence=0.25),
        ]
        return ipb.ClassifyResponse(
            results=[
                ipb.ClassifyResult(
                    classification=ipb.Classification(
                        predictions=scored[:1],
                        labels=scored[: request.top_k or None],
                        neighbours=[
                            ipb.Neighbour(row=row, labels=["negative"], similarity=0.5)
                            for row in range(request.explain)
                        ],
                        out_of_scope=(
                            ipb.OutOfScope(score=0.96, similarity=0.125)
                            if request.out_of_scope
                            else None
                        ),
                    ),
                    usage=ipb.TextUsage(token_count=len(text)),
                )
                for text in request.texts
            ],
            label_mode=label_mode_pb2.LABEL_MODE_SINGLE,
            served_by=served(request.model),
        )

    def EmbedAndClassify(  # noqa: N802
        self, request: ipb.EmbedAndClassifyRequest, context: Context
    ) -> ipb.EmbedAndClassifyResponse:
        self._asked("EmbedAndClassify", request, context)
        vectors = self.Embed(ipb.EmbedRequest(model=request.model, texts=request.texts), context)
        labels = self.Classify(
            ipb.ClassifyRequest(model=request.model, texts=request.texts), context
        )
        return ipb.EmbedAndClassifyResponse(
            results=[
                ipb.EmbedAndClassifyResult(
                    vector=vector.vector, classification=label.classification, usage=label.usage
                )
                for vector, label in zip(vectors.results, labels.results, strict=True)
            ],
            dimension=vectors.dimension,
            label_mode=labels.label_mode,
            served_by=labels.served_by,
        )

    def Process(  # noqa: N802
        self, request_iterator: Iterator[ipb.ProcessRequest], context: Context
    ) -> Iterator[ipb.ProcessResponse]:
        """Answer pairs of requests in reverse, as a server may that answers as it is ready."""
        room = self.lose_process_after.pop(0) if self.lose_process_after else 1 << 30
        for pair in _pairs(request_iterator):
            for request in reversed(pair):
                if not room:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
                yield self._processed(request, context)
                room -= 1

    def _processed(self, request: ipb.ProcessRequest, context: Context) -> ipb.ProcessResponse:
        self._asked("Process", request, context)
        response = ipb.ProcessResponse(id=request.id)
        texts = getattr(request, request.WhichOneof("request") or "").texts
        if request.id in self.busy_requests:
            self.busy_requests.remove(request.id)
            response.error.CopyFrom(refusal(grpc.StatusCode.UNAVAILABLE, "an engine died"))
        elif "forbidden" in texts:
            words = f"texts[{list(texts).index('forbidden')}]: is forbidden"
            response.error.CopyFrom(refusal(grpc.StatusCode.INVALID_ARGUMENT, words))
        elif request.HasField("embed"):
            response.embed.CopyFrom(self.Embed(request.embed, context))
        elif request.HasField("classify"):
            response.classify.CopyFrom(self.Classify(request.classify, context))
        else:
            both = self.EmbedAndClassify(request.embed_and_classify, context)
            response.embed_and_classify.CopyFrom(both)
        return response

    def Tokenize(  # noqa: N802
        self, request: ipb.TokenizeRequest, context: Context
    ) -> ipb.TokenizeResponse:
        self._asked("Tokenize", request, context)
        response = ipb.TokenizeResponse(model=request.model, max_tokens=16)
        for text in request.texts:
            words = text.split()
            result = response.results.add(ids=range(len(words)), tokens=words)
            result.token_count = len(words)
            if request.with_spans:
                result.text = text
                result.spans.extend(
                    ipb.TokenSpan(start=match.start(), end=match.end())
                    for match in re.finditer(r"\S+", text)
                )
        return response

    def GetServerStatus(  # noqa: N802
        self, request: ipb.GetServerStatusRequest, context: Context
    ) -> ServerStatus:
        self._asked("GetServerStatus", request, context)
        status = ServerStatus(
            version="0.1.0",
            device="cpu",
            worker_count=2,
            store_reachable=True,
            model_count=2,
            model_bytes=3 << 20,
        )
        status.start_time.FromSeconds(1_700_000_000)
        resident = status.models.add(model=MODEL, precision=precision_pb2.PRECISION_EXACT)
        resident.size_bytes = 1 << 20
        resident.last_use_time.FromSeconds(1_700_000_100)
        return status

    def _check(self, texts: Sequence[str], context: Context) -> None:
        if len(texts) > self.most_texts:
            abort(
                context,
                refusal(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"texts: {self.most_texts} fit into one answer.",
                    bad_request(("texts", "too many")),
                    reason="LIMIT_EXCEEDED",
                ),
            )
        empty = [index for index, text in enumerate(texts) if not text]
        if empty or not texts:
            violations = [(f"texts[{index}]", "is empty") for index in empty]
            abort(
                context,
                refusal(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"texts[{empty[0]}]: is empty" if empty else "texts: send at least one",
                    bad_request(*violations or [("texts", "send at least one")]),
                    reason="INVALID_FIELD",
                ),
            )


def _pairs(requests: Iterator[ipb.ProcessRequest]) -> Iterator[list[ipb.ProcessRequest]]:
    while pair := list(islice(requests, 2)):
        yield pair


def served(name: str) -> ipb.ServedModel:
    """Build what says who answered."""
    return ipb.ServedModel(model=name, precision=precision_pb2.PRECISION_EXACT, digest="d1")


def vector_of(text: str, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Make the vector that the scripted service has for a text, float32 of length 1."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    vector = np.random.default_rng(seed).normal(size=dimension)
    unit: NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def model(state: Model.State.ValueType = Model.STATE_READY) -> Model:
    """Build a model in a state."""
    return Model(
        name=MODEL,
        display_name="tone",
        dataset=DATASET,
        base_model="baseModels/small",
        state=state,
    )


def event(
    sequence: int,
    *,
    state: Model.State.ValueType | None = None,
    step: int | None = None,
    line: str = "",
    current: Model.State.ValueType = Model.STATE_TRAINING,
) -> mpb.WatchModelResponse:
    """Build one message of a watched run."""
    happened = model_event_pb2.ModelEvent(sequence=sequence, actor="system", attempt=1)
    if state is not None:
        happened.state_change.state = state
    elif step is not None:
        happened.step_metrics.CopyFrom(
            model_pb2.StepMetrics(
                step=step,
                epoch=step / 10,
                loss=1.0,
                accuracy=0.5,
                precision=0.5,
                recall=0.5,
                f1=0.5,
            )
        )
    else:
        happened.log_line.CopyFrom(model_event_pb2.LogLine(level="info", message=line))
    return mpb.WatchModelResponse(model=model(current), event=happened)


class Suite:
    """The scripted services behind one port."""

    def __init__(self, script: Scripted, credentials: grpc.ServerCredentials | None = None) -> None:
        """Start serving on a free port of loopback."""
        self.script = script
        self._server = grpc.server(ThreadPoolExecutor(8))
        add_DatasetServiceServicer_to_server(script, self._server)
        add_AliasServiceServicer_to_server(script, self._server)
        add_ModelServiceServicer_to_server(script, self._server)
        add_InferenceServiceServicer_to_server(script, self._server)
        health = HealthServicer()
        for name in ("Dataset", "Model", "Inference"):
            health.set(f"isogloss.v1.{name}Service", HealthCheckResponse.SERVING)
        self.health = health
        add_HealthServicer_to_server(health, self._server)
        bind: Callable[[str], int] = (
            self._server.add_insecure_port
            if credentials is None
            else lambda address: self._server.add_secure_port(address, credentials)
        )
        self.address = f"localhost:{bind('localhost:0')}"
        self._server.start()

    def stop(self) -> None:
        """Stop at once."""
        self._server.stop(None).wait()
