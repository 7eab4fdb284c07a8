"""One request to one response: read, find the model, compute, write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from isogloss.v1 import inference_service_pb2 as pb
from services.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, Reason
from services.common.identity import current_principal
from services.common.interceptor import remaining_seconds
from services.common.names import Collection
from services.common.tracing import annotate
from services.inference.awaiting import Answers
from services.inference.classification import LabelRule, label_rule
from services.inference.convert.requests import (
    Call,
    Request,
    TokenizeCall,
    call_from_proto,
    tokenize_call_from_proto,
)
from services.inference.convert.responses import (
    classify_response,
    embed_and_classify_response,
    embed_response,
    tokenize_response,
)
from services.inference.dispatcher import Dispatcher
from services.inference.engine import FloatArray, Output
from services.inference.fewshot.examples import Examples
from services.inference.fewshot.head import learn
from services.inference.fewshot.heads import Heads, Learnt, head_key
from services.inference.limits import (
    classify_answer_violation,
    embed_answer_violation,
    tokenize_answer_violation,
    vector_bytes,
)
from services.inference.model import Computed, LabelMode, Model, Question, Timings
from services.inference.neighbours.asking import by_examples, by_training_rows
from services.inference.neighbours.explaining import Explainer
from services.inference.reading import show
from services.inference.resolving import Loaded, Resolver
from services.inference.scheduling.priority import Priority
from services.inference.vectors import vector_form

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the requests of a method are answered."""

    priority: Priority
    """Unless the request says another."""

    each: bool
    """Whether a text that cannot be computed has an error of its own."""


ALONE = Manner(priority=Priority.INTERACTIVE, each=False)
"""A call of its own: somebody waits for it, and can send it again."""

IN_A_STREAM = Manner(priority=Priority.BULK, each=True)
"""One of very many: one bad text must not hold the others up."""


class Answerer:
    """Answers requests, of whichever method they come by."""

    def __init__(
        self,
        resolver: Resolver,
        dispatcher: Dispatcher,
        answers: Answers,
        *,
        max_texts: int,
        note: Callable[[Priority, Timings], None],
    ) -> None:
        """Find models with `resolver` and have them computed by `dispatcher`.

        Args:
            resolver: What names stand for.
            dispatcher: Who computes.
            answers: Brings here what it computed.
            max_texts: Texts in a request, at most.
            note: Told of every request that was computed.
        """
        self._note = note
        self._heads = Heads()
        self._resolver = resolver
        self._dispatcher = dispatcher
        self._answers = answers
        self._max_texts = max_texts
        # Texts are shown by one thread at a time: nobody who shows may hold computing up.
        self._showing = asyncio.Lock()
        # Heads are learnt by one thread at a time: that takes a second where examples are many,
        # which no worker has.
        self._learning = asyncio.Lock()

    async def embed(self, request: pb.EmbedRequest, manner: Manner) -> pb.EmbedResponse:
        """Compute vectors."""
        call = self._read(request, manner)
        loaded = await self._find(call)
        form = vector_form(call.vectors, loaded.model)
        size = vector_bytes(form, as_list=call.as_list)
        _refuse(embed_answer_violation(len(call.texts), size))
        answer = partial(embed_response, loaded, form, as_list=call.as_list)
        return await self._compute(loaded.model, call, manner, (Output.EMBEDDING,), answer)

    async def classify(self, request: pb.ClassifyRequest, manner: Manner) -> pb.ClassifyResponse:
        """Predict labels."""
        call = self._read(request, manner)
        if call.examples is not None:
            return await self._classify_by(call.examples, call, manner)
        _check_head(call)
        loaded = await self._find(call)
        rule = label_rule(call.labels, loaded.model)
        explainer = await by_training_rows(call.neighbours, loaded.model)
        _refuse(_labels_violation(call, rule, explainer))
        answer = partial(classify_response, loaded, rule, explainer=explainer)
        outputs = (Output.LOGITS,) if explainer is None else (Output.EMBEDDING, Output.LOGITS)
        return await self._compute(loaded.model, call, manner, outputs, answer)

    async def _classify_by(
        self, examples: Examples, call: Call, manner: Manner
    ) -> pb.ClassifyResponse:
        loaded = await self._find(call)
        taught = replace(
            loaded.model, labels=examples.distinct, label_mode=LabelMode.SINGLE, thresholds=()
        )
        rule = label_rule(call.labels, taught)
        _refuse(classify_answer_violation(len(call.texts), rule))
        key = head_key(current_principal().tenant, taught, call.truncation, examples)
        seconds = None
        learnt = self._heads.get(key)
        if learnt is None:
            began = time.monotonic()
            learnt = await self._learn(taught, examples, call, manner)
            self._heads.keep(key, learnt)
            seconds = time.monotonic() - began
        head, explainer = learnt.head, by_examples(call.neighbours, examples, learnt.vectors)
        _refuse(_labels_violation(call, rule, explainer))

        def answer(computed: Computed) -> pb.ClassifyResponse:
            logits = head.logits(computed.rows[Output.EMBEDDING])
            complete = replace(computed, rows={**computed.rows, Output.LOGITS: logits})
            return classify_response(loaded, rule, complete, explainer=explainer, learnt=seconds)

        return await self._compute(loaded.model, call, manner, (Output.EMBEDDING,), answer)

    async def _learn(self, model: Model, examples: Examples, call: Call, manner: Manner) -> Learnt:
        def vectors(computed: Computed) -> FloatArray:
            _refuse_examples(computed)
            return computed.rows[Output.EMBEDDING]

        asked = replace(call, texts=examples.texts)
        # What is wrong with one of them is told under its own field.
        rows = await self._compute(
            model, asked, replace(manner, each=True), (Output.EMBEDDING,), vectors
        )
        ids = {label: number for number, label in enumerate(model.labels)}
        label_ids = [ids[label] for label in examples.labels]
        async with self._learning:
            head = await asyncio.to_thread(learn, rows, label_ids, labels=len(ids))
        return Learnt(head=head, vectors=rows)

    async def embed_and_classify(
        self, request: pb.EmbedAndClassifyRequest, manner: Manner
    ) -> pb.EmbedAndClassifyResponse:
        """Compute vectors and predict labels in one pass."""
        call = self._read(request, manner)
        _check_head(call)
        loaded = await self._find(call)
        form = vector_form(call.vectors, loaded.model)
        rule = label_rule(call.labels, loaded.model)
        explainer = await by_training_rows(call.neighbours, loaded.model)
        size = vector_bytes(form, as_list=call.as_list)
        _refuse(_labels_violation(call, rule, explainer, vector=size))
        answer = partial(
            embed_and_classify_response,
            loaded,
            form,
            rule,
            as_list=call.as_list,
            explainer=explainer,
        )
        outputs = (Output.EMBEDDING, Output.LOGITS)
        return await self._compute(loaded.model, call, manner, outputs, answer)

    async def tokenize(self, request: pb.TokenizeRequest) -> pb.TokenizeResponse:
        """Show tokens."""
        call = tokenize_call_from_proto(request, max_texts=self._max_texts)
        tenant = current_principal().tenant
        # Variants of a model read texts alike: whichever is in memory can show it.
        loaded = await self._resolver.find(tenant, call.name, None)
        async with self._showing:
            return await asyncio.to_thread(_shown, loaded.model, call)

    def _read(self, request: Request, manner: Manner) -> Call:
        return call_from_proto(request, max_texts=self._max_texts, each=manner.each)

    async def _find(self, call: Call) -> Loaded:
        return await self._resolver.find(current_principal().tenant, call.name, call.precision)

    async def _compute(
        self,
        model: Model,
        call: Call,
        manner: Manner,
        outputs: tuple[Output, ...],
        answer: Callable[[Computed], T],
    ) -> T:
        priority = call.priority or manner.priority
        question = Question(
            texts=call.texts,
            truncation=call.truncation,
            outputs=outputs,
            priority=priority,
            caller=current_principal().tenant,
            remaining=remaining_seconds(),
            each=manner.each,
            input_type=call.input_type,
        )

        def timed(computed: Computed) -> tuple[Timings, T]:
            return computed.timings, answer(computed)

        timings, response = await self._answers.of(self._dispatcher.submit(model, question, timed))
        self._note(priority, timings)
        annotate(_attributes(model, question, timings))
        return response


def _attributes(
    model: Model, question: Question, timings: Timings
) -> Mapping[str, str | int | float]:
    return {
        "isogloss.model": model.name,
        "isogloss.precision": model.precision,
        "isogloss.priority": question.priority,
        "isogloss.texts": len(question.texts),
        "isogloss.queue_seconds": timings.queue,
        "isogloss.tokenise_seconds": timings.tokenise,
        "isogloss.infer_seconds": timings.infer,
    }


def _shown(model: Model, call: TokenizeCall) -> pb.TokenizeResponse:
    shown = show(model, call.texts, call.truncation, call.input_type)
    response = tokenize_response(model, shown, with_spans=call.with_spans)
    _refuse(tokenize_answer_violation(len(shown), response.ByteSize()))
    return response


def _refuse_examples(computed: Computed) -> None:
    if computed.errors:
        raise InvalidArgument(
            [
                FieldViolation(field=f"examples[{position}].text", description=error.message)
                for position, error in sorted(computed.errors.items())
            ]
        )


def _refuse(violation: FieldViolation | None) -> None:
    if violation is not None:
        raise InvalidArgument(violation)


def _labels_violation(
    call: Call, rule: LabelRule, explainer: Explainer | None, *, vector: int = 0
) -> FieldViolation | None:
    explained = 0 if explainer is None else explainer.text_bytes
    return classify_answer_violation(len(call.texts), rule, vector=vector, explained=explained)


def _check_head(call: Call) -> None:
    if call.name.collection is Collection.BASE_MODELS:
        raise FailedPrecondition(
            f"{call.name} is an untrained base: it has no labels of its own. Send examples, or "
            "train a model from it with `isogloss models create`, and classify with that.",
            reason=Reason.MODEL_HAS_NO_HEAD,
            metadata={"name": str(call.name)},
            subjects=[str(call.name)],
        )
