"""The three services as a script of the test plays them: real servers, real stubs, no logic."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
import numpy as np
from google.protobuf import any_pb2, duration_pb2, empty_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from numpy.typing import NDArray

from isogloss.v1 import (
    base_model_pb2,
    dataset_pb2,
    evaluation_pb2,
    example_pb2,
    finding_pb2,
    label_mode_pb2,
    model_event_pb2,
    model_pb2,
    precision_pb2,
    split_pb2,
    vector_pb2,
)
from isogloss.v1 import dataset_service_pb2 as dpb
from isogloss.v1 import inference_service_pb2 as ipb
from isogloss.v1 import model_service_pb2 as mpb
from isogloss.v1.dataset_service_pb2_grpc import (
    DatasetServiceServicer,
    add_DatasetServiceServicer_to_server,
)
from isogloss.v1.inference_service_pb2_grpc import (
    InferenceServiceServicer,
    add_InferenceServiceServicer_to_server,
)
from isogloss.v1.model_service_pb2_grpc import (
    ModelServiceServicer,
    add_ModelServiceServicer_to_server,
)

Context = Any
Model = model_pb2.Model
Dataset = dataset_pb2.Dataset

DATASET = "datasets/tone-abc234"
MODEL = "models/tone-xyz567"
DIMENSION = 4


def refusal(
    code: grpc.StatusCode,
    message: str,
    *details: Message,
    reason: str = "",
    metadata: dict[str, str] | None = None,
) -> status_pb2.Status:
    """Build the status that a server of ours would answer."""
    packed = []
    info = error_details_pb2.ErrorInfo(domain="isogloss", reason=reason, metadata=metadata or {})
    for detail in (info, *details):
        container = any_pb2.Any()
        container.Pack(detail)
        packed.append(container)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def bad_request(*violations: tuple[str, str]) -> error_details_pb2.BadRequest:
    """Build the detail that names fields."""
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=field, description=description, reason="INVALID_FIELD"
            )
            for field, description in violations
        ]
    )


def retry_after(seconds: int) -> error_details_pb2.RetryInfo:
    """Build the detail that says when to come back."""
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))


def abort(context: Context, status: status_pb2.Status) -> NoReturn:
    """Answer a status the way our servers do."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    context.set_trailing_metadata(details)
    context.abort(code, status.message)
    raise AssertionError


class Scripted(DatasetServiceServicer, ModelServiceServicer, InferenceServiceServicer):
    """What the test set, and what it was asked."""

    def __init__(self) -> None:
        """Begin with a suite in which everything goes well."""
        self.calls: list[tuple[str, Message]] = []
        self.metadata: list[dict[str, str]] = []
        self.refusals: dict[str, list[status_pb2.Status]] = defaultdict(list)
        self.files: dict[int, bytearray] = defaultdict(bytearray)
        self.lose_stream_after: list[int] = []
        self.dataset = Dataset(name=DATASET, display_name="tone", state=Dataset.STATE_UPLOADING)
        self.validation: list[Dataset] = []
        self.findings: list[finding_pb2.Finding] = []
        self.models: list[Model] = [model()]
        self.events: list[mpb.WatchModelResponse] = []
        self.lose_watch_after: list[int] = []
        self.dimension = DIMENSION
        self.most_texts = 512
        self.deleted: list[str] = []
        self.evaluation = evaluation_pb2.Evaluation(name=f"{MODEL}/evaluation")
        self.hold = threading.Event()
        self.hold.set()

    def _asked(self, method: str, request: Message, context: Context) -> None:
        copy = type(request)()
        copy.CopyFrom(request)
        self.calls.append((method, copy))
        self.metadata.append(dict(context.invocation_metadata()))
        self.hold.wait(10)
        if self.refusals[method]:
            abort(context, self.refusals[method].pop(0))

    def asked(self, method: str) -> list[Any]:
        """Give the requests of one method in their order."""
        return [request for name, request in self.calls if name == method]

    # Datasets.

    def CreateDataset(self, request: dpb.CreateDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("CreateDataset", request, context)
        self.dataset.display_name = request.dataset.display_name
        self.dataset.options.CopyFrom(request.dataset.options)
        return self.dataset

    def WriteDataset(  # noqa: N802
        self, request_iterator: Iterator[dpb.WriteDatasetRequest], context: Context
    ) -> dpb.WriteDatasetResponse:
        first = next(request_iterator)
        self._asked("WriteDataset", dpb.WriteDatasetRequest(offset=first.offset), context)
        stored = self.files[first.split]
        if first.offset != len(stored):
            metadata = {"committed_size": str(len(stored))}
            abort(
                context,
                refusal(
                    grpc.StatusCode.OUT_OF_RANGE,
                    "wrong offset",
                    reason="UPLOAD_OFFSET_MISMATCH",
                    metadata=metadata,
                ),
            )
        room = self.lose_stream_after.pop(0) if self.lose_stream_after else 1 << 40
        message = first
        while True:
            stored += message.data[: max(room, 0)]
            room -= len(message.data)
            if room < 0:
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
            following = next(request_iterator, None)
            if following is None:
                return dpb.WriteDatasetResponse(committed_size=len(stored))
            message = following

    def FinalizeDataset(self, request: dpb.FinalizeDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("FinalizeDataset", request, context)
        for expected in request.checksums:
            stored = bytes(self.files[expected.split])
            if hashlib.sha256(stored).hexdigest() != expected.sha256:
                abort(
                    context,
                    refusal(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        "The stored bytes differ.",
                        reason="CHECKSUM_MISMATCH",
                    ),
                )
        if self.dataset.state == Dataset.STATE_UPLOADING:
            self.dataset.state = Dataset.STATE_VALIDATING
        return self.dataset

    def GetDataset(self, request: dpb.GetDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("GetDataset", request, context)
        if request.name != self.dataset.name:
            abort(
                context,
                refusal(
                    grpc.StatusCode.NOT_FOUND,
                    f"{request.name} was not found.",
                    reason="RESOURCE_NOT_FOUND",
                    metadata={"name": request.name},
                ),
            )
        answer = Dataset()
        answer.CopyFrom(self.dataset)
        for split, data in self.files.items():
            answer.uploads.add(split=split_pb2.Split.ValueType(split), committed_size=len(data))
        return answer

    def ListDatasets(  # noqa: N802
        self, request: dpb.ListDatasetsRequest, context: Context
    ) -> dpb.ListDatasetsResponse:
        self._asked("ListDatasets", request, context)
        page = int(request.page_token or 0)
        entry = Dataset()
        entry.CopyFrom(self.dataset)
        entry.name = f"{DATASET}-{page}"
        token = str(page + 1) if page < 2 else ""
        return dpb.ListDatasetsResponse(datasets=[entry], next_page_token=token)

    def WatchDataset(  # noqa: N802
        self, request: dpb.WatchDatasetRequest, context: Context
    ) -> Iterator[dpb.WatchDatasetResponse]:
        self._asked("WatchDataset", request, context)
        while self.validation:
            self.dataset = self.validation.pop(0)
            yield dpb.WatchDatasetResponse(dataset=self.dataset)
            if self.lose_watch_after:
                self.lose_watch_after.pop()
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
        if self.dataset.state == Dataset.STATE_VALIDATING:
            self.dataset.state = Dataset.STATE_READY
        yield dpb.WatchDatasetResponse(dataset=self.dataset)

    def DeleteDataset(  # noqa: N802
        self, request: dpb.DeleteDatasetRequest, context: Context
    ) -> empty_pb2.Empty:
        self._asked("DeleteDataset", request, context)
        self.deleted.append(request.name)
        return empty_pb2.Empty()

    def PreviewDataset(  # noqa: N802
        self, request: dpb.PreviewDatasetRequest, context: Context
    ) -> dpb.PreviewDatasetResponse:
        self._asked("PreviewDataset", request, context)
        return dpb.PreviewDatasetResponse(
            splits=[
                dpb.SplitPreview(
                    split=split_pb2.SPLIT_TRAIN,
                    row_count=3,
                    examples=[
                        example_pb2.Example(
                            text="My order was [late]",
                            labels=["negative"],
                            split=split_pb2.SPLIT_TRAIN,
                            line=2,
                            row=1,
                        )
                    ],
                    labels=[
                        example_pb2.LabelCount(label="negative", count=2),
                        example_pb2.LabelCount(label="positive", count=1),
                    ],
                )
            ]
        )

    def ListFindings(  # noqa: N802
        self, request: dpb.ListFindingsRequest, context: Context
    ) -> dpb.ListFindingsResponse:
        self._asked("ListFindings", request, context)
        return dpb.ListFindingsResponse(findings=self.findings)

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

    def DeleteModel(  # noqa: N802
        self, request: mpb.DeleteModelRequest, context: Context
    ) -> empty_pb2.Empty:
        self._asked("DeleteModel", request, context)
        self.deleted.append(request.name)
        return empty_pb2.Empty()

    def GetEvaluation(  # noqa: N802
        self, request: mpb.GetEvaluationRequest, context: Context
    ) -> evaluation_pb2.Evaluation:
        self._asked("GetEvaluation", request, context)
        return self.evaluation

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
                        predictions=scored[:1], labels=scored[: request.top_k or None]
                    ),
                    usage=ipb.TextUsage(token_count=len(text)),
                )
                for text in request.texts
            ],
            label_mode=label_mode_pb2.LABEL_MODE_SINGLE,
            served_by=served(request.model),
        )

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
