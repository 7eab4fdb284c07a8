"""`isogloss.v1.ModelService`: parse, call, convert."""

# ruff: noqa: N802, ARG002 (names and signatures are gRPC's)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc.aio import ServicerContext

from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.comparison_pb2 import Comparison
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.model_card_pb2 import ModelCard
from isogloss.v1.model_pb2 import Model
from isogloss.v1.model_service_pb2_grpc import ModelServiceServicer
from isogloss.v1.projection_pb2 import Projection
from services.common import pagination
from services.common.identity import current_principal
from services.common.pace import taken
from services.trainer import convert, requests
from services.trainer.control import Control
from services.trainer.creation import Creation
from services.trainer.evaluating import naming
from services.trainer.evaluating import requests as evaluating
from services.trainer.evaluating.calls import EvaluationCalls
from services.trainer.models import Request
from services.trainer.registry.aliases import Aliases
from services.trainer.registry.transfers import Transfers
from services.trainer.tables import ModelRow
from services.trainer.viewing import Viewer

Context = ServicerContext[Any, Any]


class ModelServicer(ModelServiceServicer):
    """Answers the calls; blocking work goes to threads.

    Args:
        viewer: Shows models.
        control: What is done with them.
        creation: The way in and out.
        evaluations: What they scored.
        aliases: What may stand for a model.
        transfers: Sends and takes bundles.
    """

    def __init__(
        self,
        *,
        viewer: Viewer,
        control: Control,
        creation: Creation,
        evaluations: EvaluationCalls,
        aliases: Aliases,
        transfers: Transfers,
    ) -> None:
        """Keep the parts."""
        self._viewer = viewer
        self._control = control
        self._creation = creation
        self._evaluating = evaluations
        self._aliases = aliases
        self._transfers = transfers

    async def ListBaseModels(
        self, request: pb.ListBaseModelsRequest, context: Context
    ) -> pb.ListBaseModelsResponse:
        """List what models can start from."""
        return await self._viewer.bases(request)

    async def CreateModel(self, request: pb.CreateModelRequest, context: Context) -> Model:
        """Create a model and queue its training."""
        tenant = current_principal().tenant
        auto_start = not request.HasField("auto_start") or request.auto_start
        wish = convert.wish(request.model, tenant=tenant, auto_start=auto_start)
        step = self._creation.check if request.validate_only else self._creation.create
        return await self._viewer.shown(await asyncio.to_thread(step, wish, _asked(request)))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> Model:
        """Read one model."""
        return await self._viewer.get(request)

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """List models, newest first."""
        return await self._viewer.list(request)

    async def WatchModel(
        self, request: pb.WatchModelRequest, context: Context
    ) -> AsyncIterator[pb.WatchModelResponse]:
        """Send what happened to a model, then what happens."""
        async with aclosing(self._viewer.watch(request)) as responses:
            async for response in responses:
                yield response

    async def PauseModel(self, request: pb.PauseModelRequest, context: Context) -> Model:
        """Pause a model that is queued or training."""
        return await self._changed(self._control.pause, request.name)

    async def ResumeModel(self, request: pb.ResumeModelRequest, context: Context) -> Model:
        """Queue a paused model again."""
        return await self._changed(self._control.resume, request.name)

    async def CancelModel(self, request: pb.CancelModelRequest, context: Context) -> Model:
        """Cancel a model that is queued or training."""
        return await self._changed(self._creation.cancel, request.name)

    async def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> Model:
        """Change what can be changed of a model."""
        tenant = current_principal().tenant
        model = requests.model_id(request.model.name, "model.name")
        change = requests.change(request)
        return await self._viewer.shown(
            await asyncio.to_thread(self._control.update, tenant, model, change)
        )

    async def ListModelEvents(
        self, request: pb.ListModelEventsRequest, context: Context
    ) -> pb.ListModelEventsResponse:
        """List what happened to a model."""
        return await self._viewer.events(request)

    async def ListStepMetrics(
        self, request: pb.ListStepMetricsRequest, context: Context
    ) -> pb.ListStepMetricsResponse:
        """List the measurements on held-out rows."""
        return await self._viewer.step_metrics(request)

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> Empty:
        """Delete a model and all that is stored of it."""
        principal, model = current_principal(), requests.model_id(request.name)
        if not request.force:
            await asyncio.to_thread(self._aliases.refuse_deletion, principal.tenant, model)
        # Twice: one may be asked for until the model is gone.
        await asyncio.to_thread(self._evaluating.drop, principal.tenant, model)
        await asyncio.to_thread(self._creation.delete, principal.tenant, model, principal.name)
        await asyncio.to_thread(self._evaluating.drop, principal.tenant, model)
        return Empty()

    async def ExportModel(  # type: ignore[override]  # writes, for a time limit
        self, request: pb.ExportModelRequest, context: Context
    ) -> None:
        """Send a READY model as a bundle."""
        async with aclosing(self._transfers.send(request, current_principal())) as responses:
            async for response in responses:
                pace = self._transfers.limits.pace
                await taken(context.write(response), pace, len(response.data))

    async def ImportModel(
        self, request_iterator: AsyncIterator[pb.ImportModelRequest], context: Context
    ) -> Model:
        """Make a model of a bundle."""
        row = await self._transfers.take(request_iterator, current_principal())
        return await self._viewer.shown(row)

    async def GetEvaluation(self, request: pb.GetEvaluationRequest, context: Context) -> Evaluation:
        """Read what a READY model scored."""
        name = naming.parse_evaluation(request.name)
        return await asyncio.to_thread(self._evaluating.get, current_principal().tenant, name)

    async def ListEvaluations(
        self, request: pb.ListEvaluationsRequest, context: Context
    ) -> pb.ListEvaluationsResponse:
        """List the evaluations of a model on further datasets."""
        tenant, model = current_principal().tenant, requests.model_id(request.parent, "parent")
        page = pagination.page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListEvaluations", tenant, model),
        )
        found = await asyncio.to_thread(self._evaluating.list, tenant, model, page)
        return pb.ListEvaluationsResponse(
            evaluations=[evaluating.summary(row) for row in found.items],
            next_page_token=found.next_page_token,
        )

    async def DeleteEvaluation(
        self, request: pb.DeleteEvaluationRequest, context: Context
    ) -> Empty:
        """Delete an evaluation on a further dataset."""
        name = naming.parse_evaluation(request.name)
        await asyncio.to_thread(self._evaluating.delete, current_principal().tenant, name)
        return Empty()

    async def GetProjection(self, request: pb.GetProjectionRequest, context: Context) -> Projection:
        """Read the map of held-out texts before and after training."""
        model = naming.parse_projection(request.name)
        return await asyncio.to_thread(
            self._evaluating.projection, current_principal().tenant, model
        )

    async def GetModelCard(self, request: pb.GetModelCardRequest, context: Context) -> ModelCard:
        """Read the model card."""
        model = naming.parse_card(request.name)
        return await asyncio.to_thread(self._evaluating.card, current_principal().tenant, model)

    async def EvaluateModel(self, request: pb.EvaluateModelRequest, context: Context) -> Evaluation:
        """Queue the scoring of a model on a further dataset."""
        tenant, wish = current_principal().tenant, evaluating.wish(request)
        return await asyncio.to_thread(self._evaluating.evaluate, tenant, wish, _asked(request))

    async def CompareModels(self, request: pb.CompareModelsRequest, context: Context) -> Comparison:
        """Compare models on rows that all of them scored."""
        wish = evaluating.comparison_wish(request)
        return await asyncio.to_thread(self._evaluating.compare, current_principal().tenant, wish)

    async def _changed(self, change: Callable[[str, str, str], ModelRow], name: str) -> Model:
        """Carry out what the caller does with a model."""
        principal = current_principal()
        row = await asyncio.to_thread(
            change, principal.tenant, requests.model_id(name), principal.name
        )
        return await self._viewer.shown(row)


def _asked(request: pb.CreateModelRequest | pb.EvaluateModelRequest) -> Request:
    return Request(
        actor=current_principal().name,
        request_id=request.request_id,
        fingerprint=request.SerializeToString(deterministic=True),
    )
