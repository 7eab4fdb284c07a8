"""Writes what was computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import vector_pb2
from services.common.status import to_status
from services.inference.classification import Classification, LabelRule, ScoredLabel, classify
from services.inference.convert.enums import LABEL_MODES_OUT, PRECISIONS_OUT, VECTOR_TYPES_OUT
from services.inference.engine import Output
from services.inference.model import Computed, Model
from services.inference.neighbours.explaining import Explainer, Explanation
from services.inference.resolving import Loaded
from services.inference.tokenization import ShownText
from services.inference.vectors import Numbers, VectorForm

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_Result = pb.EmbedResult | pb.ClassifyResult | pb.EmbedAndClassifyResult


def embed_response(
    loaded: Loaded, form: VectorForm, computed: Computed, *, as_list: bool
) -> pb.EmbedResponse:
    """Return the answer of `Embed`."""
    response = pb.EmbedResponse(
        dimension=form.dimension,
        vector_type=VECTOR_TYPES_OUT[form.vector_type],
        step=form.step,
        served_by=_served_by(loaded),
        timings=_timings(loaded, computed),
    )
    for position, row in enumerate(form.encode(computed.rows[Output.EMBEDDING])):
        result = response.results.add()
        if _tell(computed, position, result):
            _write_vector(result.vector, row, form, as_list=as_list)
    return response


def classify_response(
    loaded: Loaded,
    rule: LabelRule,
    computed: Computed,
    *,
    explainer: Explainer | None = None,
    learnt: float | None = None,
) -> pb.ClassifyResponse:
    """Return the answer of `Classify`; `learnt`: the seconds that the examples took."""
    response = pb.ClassifyResponse(
        label_mode=LABEL_MODES_OUT[rule.mode],
        served_by=_served_by(loaded),
        timings=_timings(loaded, computed),
    )
    if learnt is not None:
        response.timings.learn.CopyFrom(_duration(learnt))
    for position, found in enumerate(classify(computed.rows[Output.LOGITS], rule)):
        result = response.results.add()
        if _tell(computed, position, result):
            _write_labels(result.classification, found, rule)
    _explain(response, loaded, computed, explainer)
    return response


def embed_and_classify_response(
    loaded: Loaded,
    form: VectorForm,
    rule: LabelRule,
    computed: Computed,
    *,
    as_list: bool,
    explainer: Explainer | None = None,
) -> pb.EmbedAndClassifyResponse:
    """Return the answer of `EmbedAndClassify`."""
    response = pb.EmbedAndClassifyResponse(
        dimension=form.dimension,
        vector_type=VECTOR_TYPES_OUT[form.vector_type],
        step=form.step,
        label_mode=LABEL_MODES_OUT[rule.mode],
        served_by=_served_by(loaded),
        timings=_timings(loaded, computed),
    )
    vectors = form.encode(computed.rows[Output.EMBEDDING])
    labels = classify(computed.rows[Output.LOGITS], rule)
    for position, (row, found) in enumerate(zip(vectors, labels, strict=True)):
        result = response.results.add()
        if _tell(computed, position, result):
            _write_vector(result.vector, row, form, as_list=as_list)
            _write_labels(result.classification, found, rule)
    _explain(response, loaded, computed, explainer)
    return response


def tokenize_response(
    model: Model, shown: Sequence[ShownText], *, with_spans: bool
) -> pb.TokenizeResponse:
    """Return the answer of `Tokenize`."""
    response = pb.TokenizeResponse(model=model.name, max_tokens=model.max_tokens)
    for text in shown:
        result = response.results.add(
            ids=text.ids,
            tokens=text.tokens,
            token_count=text.token_count,
            truncated=text.truncated,
        )
        if with_spans:
            result.text = text.text
            result.spans.extend(pb.TokenSpan(start=start, end=end) for start, end in text.spans)
    return response


def _tell(computed: Computed, position: int, result: _Result) -> bool:
    """Write how a text was read, or why it was not; return whether there is more to write."""
    error = computed.errors.get(position)
    if error is not None:
        result.error.CopyFrom(to_status(error))
    text = computed.texts[position]
    if text is not None:
        result.usage.token_count = len(text.ids)
        result.usage.truncated = text.truncated
    return error is None


def _write_vector(
    vector: vector_pb2.Vector, row: Numbers, form: VectorForm, *, as_list: bool
) -> None:
    if not as_list:
        vector.packed = row.tobytes()
    elif form.vector_type.floating:
        vector.floats.values.extend(row.tolist())
    else:
        vector.integers.values.extend(row.tolist())


def _write_labels(message: pb.Classification, found: Classification, rule: LabelRule) -> None:
    _write_scores(message.predictions, found.predictions, rule)
    _write_scores(message.labels, found.labels, rule)
    message.abstained = found.abstained
    # Set even where nothing is predicted and nothing told.
    message.SetInParent()


def _explain(
    response: pb.ClassifyResponse | pb.EmbedAndClassifyResponse,
    loaded: Loaded,
    computed: Computed,
    explainer: Explainer | None,
) -> None:
    """Write beside the labels what explains them."""
    if explainer is None:
        return
    response.dataset = explainer.dataset
    if explainer.seconds is not None:
        response.timings.load.CopyFrom(_duration((loaded.seconds or 0.0) + explainer.seconds))
    explanations = explainer.explanations(computed.rows[Output.EMBEDDING])
    results: Iterable[pb.ClassifyResult | pb.EmbedAndClassifyResult] = response.results
    for result, found in zip(results, explanations, strict=True):
        if not result.HasField("error"):
            _write_explanation(result.classification, found)


def _write_explanation(message: pb.Classification, found: Explanation) -> None:
    for neighbour in found.neighbours:
        message.neighbours.add(
            row=neighbour.row,
            labels=neighbour.labels,
            text=neighbour.text,
            similarity=neighbour.similarity,
        )
    if found.out_of_scope is not None:
        message.out_of_scope.score = found.out_of_scope.score
        message.out_of_scope.similarity = found.out_of_scope.similarity


def _write_scores(
    messages: RepeatedCompositeFieldContainer[pb.ScoredLabel],
    labels: Sequence[ScoredLabel],
    rule: LabelRule,
) -> None:
    for label, confidence, raw_score in labels:
        # Field by field, which takes a third of the time of making a message and copying it.
        message = messages.add()
        message.label = label
        message.confidence = confidence
        if rule.raw_scores:
            message.raw_score = raw_score


def _served_by(loaded: Loaded) -> pb.ServedModel:
    model = loaded.model
    return pb.ServedModel(
        model=model.name, precision=PRECISIONS_OUT[model.precision], digest=model.digest
    )


def _timings(loaded: Loaded, computed: Computed) -> pb.Timings:
    spent = computed.timings
    return pb.Timings(
        queue=_duration(spent.queue),
        tokenize=_duration(spent.tokenise),
        infer=_duration(spent.infer),
        load=None if loaded.seconds is None else _duration(loaded.seconds),
    )


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
