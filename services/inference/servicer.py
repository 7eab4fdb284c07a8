"""The rpcs of InferenceService: parse, compute, convert."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceServicer
from services.common.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    Reason,
)
from services.common.identity import current_principal
from services.common.interceptor import remaining_seconds
from services.common.names import Collection, ResourceName
from services.inference.aliases import Aliases
from services.inference.awaiting import answered
from services.inference.convert import (
    Call,
    call_from_proto,
    classify_response,
    embed_response,
)
from services.inference.dispatcher import Dispatcher
from services.inference.engine import Output
from services.inference.limits import classify_answer_violation, embed_answer_violation
from services.inference.model import Computed, LabelMode, Model, Priority, Question
from services.inference.models import ModelKey, Models

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

T = TypeVar("T")


class InferenceServicer(InferenceServiceServicer):
    """Answers on the event loop; everything that takes time is elsewhere."""

    def __init__(
        self, models: Models, aliases: Aliases, dispatcher: Dispatcher, *, max_texts: int
    ) -> None:
        """Serve `models`, also by `aliases`, computed by `dispatcher`.

        Args:
            models: What computes.
            aliases: What names that move stand for.
            dispatcher: Who computes.
            max_texts: Texts in a call, at most.
        """
        self._models = models
        self._aliases = aliases
        self._dispatcher = dispatcher
        self._max_texts = max_texts

    async def Embed(  # noqa: N802 (the rpc's name)
        self,
        request: pb.EmbedRequest,
        context: ServicerContext[pb.EmbedRequest, pb.EmbedResponse],  # noqa: ARG002
    ) -> pb.EmbedResponse:
        """See the contract."""
        call = call_from_proto(request, max_texts=self._max_texts)
        model = await self._model(call)
        _refuse(embed_answer_violation(len(call.texts), model.dimension))
        answer = partial(embed_response, model, as_list=request.as_list)
        return await self._compute(model, call, Output.EMBEDDING, answer)

    async def Classify(  # noqa: N802 (the rpc's name)
        self,
        request: pb.ClassifyRequest,
        context: ServicerContext[pb.ClassifyRequest, pb.ClassifyResponse],  # noqa: ARG002
    ) -> pb.ClassifyResponse:
        """See the contract."""
        call = call_from_proto(request, max_texts=self._max_texts)
        _check_head(call)
        model = await self._model(call)
        predictions = 1 if model.label_mode is LabelMode.SINGLE else len(model.labels)
        _refuse(
            classify_answer_violation(
                len(call.texts), model.labels, top_k=request.top_k, predictions=predictions
            )
        )
        answer = partial(classify_response, model, top_k=request.top_k)
        return await self._compute(model, call, Output.LOGITS, answer)

    async def _model(self, call: Call) -> Model:
        name = call.name
        if name.collection is not Collection.ALIASES:
            return await self._loaded(name, call)
        tenant = current_principal().tenant
        target = self._aliases.known(tenant, name.id)
        if target is None:
            target = await asyncio.to_thread(self._aliases.find, tenant, name.id)
        try:
            return await self._loaded(target, call)
        except NotFound as error:
            # The alias may have been switched a moment ago, and the old model deleted at once.
            now = await asyncio.to_thread(self._aliases.find, tenant, name.id)
            if now == target:
                raise _broken(name, target) from error
        return await self._loaded(now, call)

    async def _loaded(self, name: ResourceName, call: Call) -> Model:
        key = ModelKey.of(current_principal().tenant, name, call.precision)
        model = self._models.ready(key)
        if model is None:
            model = await asyncio.wrap_future(self._models.request(key))
        return model

    async def _compute(
        self, model: Model, call: Call, output: Output, answer: Callable[[Computed], T]
    ) -> T:
        question = Question(
            texts=call.texts,
            truncation=call.truncation,
            outputs=(output,),
            priority=Priority.INTERACTIVE,
            caller=current_principal().tenant,
            remaining=remaining_seconds(),
            each=False,
        )
        return await answered(self._dispatcher.submit(model, question, answer))


def _refuse(violation: FieldViolation | None) -> None:
    if violation is not None:
        raise InvalidArgument(violation)


def _broken(alias: ResourceName, target: ResourceName) -> FailedPrecondition:
    return FailedPrecondition(
        f"{alias} stands for {target}, which was deleted. Switch it with `isogloss aliases set "
        f"{alias} MODEL`, or go back with `isogloss aliases rollback {alias}`.",
        reason=Reason.ALIAS_BROKEN,
        metadata={"name": str(alias), "model": str(target)},
        subjects=[str(target)],
    )


def _check_head(call: Call) -> None:
    if call.name.collection is Collection.BASE_MODELS:
        raise FailedPrecondition(
            f"{call.name} is an untrained base: it embeds, but cannot classify. Train a model "
            "from it with `isogloss models create`, and classify with that.",
            reason=Reason.MODEL_HAS_NO_HEAD,
            metadata={"name": str(call.name)},
            subjects=[str(call.name)],
        )
