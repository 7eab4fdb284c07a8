"""`isogloss.v1.ModelService`: parse, call, convert."""

# ruff: noqa: N802, ARG002 (names and signatures are gRPC's)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import grpc
from google.protobuf.empty_pb2 import Empty

from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.comparison_pb2 import Comparison
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.model_card_pb2 import ModelCard
from isogloss.v1.model_pb2 import Model
from isogloss.v1.model_service_pb2_grpc import ModelServiceServicer
from isogloss.v1.projection_pb2 import Projection
from services.common import names, pagination
from services.common.identity import Role, current_principal
from services.common.names import Collection
from services.common.pace import taken
from services.trainer import convert, requests
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.control import Control
from services.trainer.creation import Creation
from services.trainer.evaluating import naming
from services.trainer.evaluating import requests as evaluating
from services.trainer.evaluating.calls import EvaluationCalls
from services.trainer.history import History
from services.trainer.models import Models, Request
from services.trainer.registry.aliases import Aliases
from services.trainer.registry.transfers import Transfers
from services.trainer.tables import ModelRow
from services.trainer.watching import Watch

SERVICE = "isogloss.v1.ModelService"

ROLES = {
    f"/{SERVICE}/ListBaseModels": Role.READ,
    f"/{SERVICE}/CreateModel": Role.WRITE,
    f"/{SERVICE}/GetModel": Role.READ,
    f"/{SERVICE}/ListModels": Role.READ,
    f"/{SERVICE}/WatchModel": Role.READ,
    f"/{SERVICE}/PauseModel": Role.WRITE,
    f"/{SERVICE}/ResumeModel": Role.WRITE,
    f"/{SERVICE}/CancelModel": Role.WRITE,
    f"/{SERVICE}/UpdateModel": Role.WRITE,
    f"/{SERVICE}/ListModelEvents": Role.READ,
    f"/{SERVICE}/ListStepMetrics": Role.READ,
    f"/{SERVICE}/DeleteModel": Role.WRITE,
    f"/{SERVICE}/ExportModel": Role.READ,
    f"/{SERVICE}/ImportModel": Role.WRITE,
    f"/{SERVICE}/GetEvaluation": Role.READ,
    f"/{SERVICE}/ListEvaluations": Role.READ,
    f"/{SERVICE}/DeleteEvaluation": Role.WRITE,
    f"/{SERVICE}/GetProjection": Role.READ,
    f"/{SERVICE}/GetModelCard": Role.READ,
    f"/{SERVICE}/EvaluateModel": Role.WRITE,
    f"/{SERVICE}/CompareModels": Role.READ,
}


class ModelServicer(ModelServiceServicer):
    """Answers the calls; blocking work goes to threads.

    Args:
        models: The rows.
        control: What is done with them.
        history: What happened to them.
        creation: The way in and out.
        catalogue: The base models.
        evaluations: What they scored.
        aliases: What may stand for a model.
        transfers: Sends and takes bundles.
        bell: Rings when something changed in this process.
        poll_seconds: How often a watched model is read again.
    """

    def __init__(
        self,
        *,
        models: Models,
        control: Control,
        history: History,
        creation: Creation,
        catalogue: Catalogue,
        evaluations: EvaluationCalls,
        aliases: Aliases,
        transfers: Transfers,
        bell: Bell,
        poll_seconds: float,
    ) -> None:
        """Keep the parts."""
        self._models = models
        self._control = control
        self._history = history
        self._creation = creation
        self._catalogue = catalogue
        self._evaluating = evaluations
        self._aliases = aliases
        self._transfers = transfers
        self._bell = bell
        self._poll_seconds = poll_seconds

    async def ListBaseModels(
        self,
        request: pb.ListBaseModelsRequest,
        context: grpc.aio.ServicerContext[pb.ListBaseModelsRequest, pb.ListBaseModelsResponse],
    ) -> pb.ListBaseModelsResponse:
        """List what models can start from."""
        page = pagination.page_request(
            page_size=request.page_size, page_token=request.page_token, scope=("ListBaseModels",)
        )
        bases = await asyncio.to_thread(self._catalogue.list)
        after = "" if page.cursor is None else str(page.cursor[0])
        found = pagination.cut_page(
            [base for base in bases if base.id > after],
            request=page,
            cursor_of=lambda base: (base.id,),
        )
        return pb.ListBaseModelsResponse(
            base_models=[convert.base_model(base) for base in found.items],
            next_page_token=found.next_page_token,
        )

    async def CreateModel(
        self,
        request: pb.CreateModelRequest,
        context: grpc.aio.ServicerContext[pb.CreateModelRequest, Model],
    ) -> Model:
        """Create a model and queue its training."""
        principal = current_principal()
        auto_start = not request.HasField("auto_start") or request.auto_start
        wish = convert.wish(request.model, tenant=principal.tenant, auto_start=auto_start)
        asked = Request(
            actor=principal.name,
            request_id=request.request_id,
            fingerprint=request.SerializeToString(deterministic=True),
        )
        step = self._creation.check if request.validate_only else self._creation.create
        return await self._shown(await asyncio.to_thread(step, wish, asked))

    async def GetModel(
        self,
        request: pb.GetModelRequest,
        context: grpc.aio.ServicerContext[pb.GetModelRequest, Model],
    ) -> Model:
        """Read one model."""
        model = _model_id(request.name)
        return await self._shown(
            await asyncio.to_thread(self._models.get, current_principal().tenant, model)
        )

    async def ListModels(
        self,
        request: pb.ListModelsRequest,
        context: grpc.aio.ServicerContext[pb.ListModelsRequest, pb.ListModelsResponse],
    ) -> pb.ListModelsResponse:
        """List models, newest first."""
        tenant, wanted = current_principal().tenant, requests.model_filter(request)
        page = pagination.page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListModels", tenant, repr(wanted)),
        )
        found = await asyncio.to_thread(
            self._models.list, tenant, page, lambda row: convert.model(row).ByteSize(), wanted
        )
        places = await asyncio.to_thread(self._models.positions, found.items)
        return pb.ListModelsResponse(
            models=[
                convert.model(row, queue_position=places.get(row.id, 0)) for row in found.items
            ],
            next_page_token=found.next_page_token,
        )

    async def WatchModel(
        self,
        request: pb.WatchModelRequest,
        context: grpc.aio.ServicerContext[pb.WatchModelRequest, pb.WatchModelResponse],
    ) -> AsyncIterator[pb.WatchModelResponse]:
        """Send what happened to a model, then what happens."""
        watch = Watch(
            self._models,
            tenant=current_principal().tenant,
            model=_model_id(request.name),
            after=request.after_sequence,
        )
        while True:
            for news in await asyncio.to_thread(watch.look):
                yield pb.WatchModelResponse(
                    model=convert.model(news.row, queue_position=news.queue_position),
                    event=convert.event(news.event) if news.event else None,
                )
            if watch.ended:
                return
            if not watch.behind:
                await self._bell.wait(self._poll_seconds)

    async def PauseModel(
        self,
        request: pb.PauseModelRequest,
        context: grpc.aio.ServicerContext[pb.PauseModelRequest, Model],
    ) -> Model:
        """Pause a model that is queued or training."""
        return await self._changed(self._control.pause, request.name)

    async def ResumeModel(
        self,
        request: pb.ResumeModelRequest,
        context: grpc.aio.ServicerContext[pb.ResumeModelRequest, Model],
    ) -> Model:
        """Queue a paused model again."""
        return await self._changed(self._control.resume, request.name)

    async def CancelModel(
        self,
        request: pb.CancelModelRequest,
        context: grpc.aio.ServicerContext[pb.CancelModelRequest, Model],
    ) -> Model:
        """Cancel a model that is queued or training."""
        return await self._changed(self._creation.cancel, request.name)

    async def UpdateModel(
        self,
        request: pb.UpdateModelRequest,
        context: grpc.aio.ServicerContext[pb.UpdateModelRequest, Model],
    ) -> Model:
        """Change what can be changed of a model."""
        tenant, model = current_principal().tenant, _model_id(request.model.name, "model.name")
        change = requests.change(request)
        return await self._shown(
            await asyncio.to_thread(self._control.update, tenant, model, change)
        )

    async def ListModelEvents(
        self,
        request: pb.ListModelEventsRequest,
        context: grpc.aio.ServicerContext[pb.ListModelEventsRequest, pb.ListModelEventsResponse],
    ) -> pb.ListModelEventsResponse:
        """List what happened to a model."""
        tenant, model = current_principal().tenant, _model_id(request.parent, "parent")
        kinds = requests.event_kinds(request.kinds)
        page = pagination.page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListModelEvents", tenant, model, *kinds),
        )
        found = await asyncio.to_thread(self._history.events, tenant, model, page, kinds=kinds)
        return pb.ListModelEventsResponse(
            events=[convert.event(row) for row in found.items],
            next_page_token=found.next_page_token,
        )

    async def ListStepMetrics(
        self,
        request: pb.ListStepMetricsRequest,
        context: grpc.aio.ServicerContext[pb.ListStepMetricsRequest, pb.ListStepMetricsResponse],
    ) -> pb.ListStepMetricsResponse:
        """List the measurements on held-out rows."""
        tenant, model = current_principal().tenant, _model_id(request.parent, "parent")
        page = pagination.page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListStepMetrics", tenant, model),
        )
        found = await asyncio.to_thread(self._history.measurements, tenant, model, page)
        return pb.ListStepMetricsResponse(
            step_metrics=[convert.step_metrics(row.body, row.create_time) for row in found.items],
            next_page_token=found.next_page_token,
        )

    async def DeleteModel(
        self,
        request: pb.DeleteModelRequest,
        context: grpc.aio.ServicerContext[pb.DeleteModelRequest, Empty],
    ) -> Empty:
        """Delete a model and all that is stored of it."""
        principal, model = current_principal(), _model_id(request.name)
        if not request.force:
            await asyncio.to_thread(self._aliases.refuse_deletion, principal.tenant, model)
        # Twice: one may be asked for until the model is gone.
        await asyncio.to_thread(self._evaluating.drop, principal.tenant, model)
        await asyncio.to_thread(self._creation.delete, principal.tenant, model, principal.name)
        await asyncio.to_thread(self._evaluating.drop, principal.tenant, model)
        return Empty()

    async def ExportModel(  # type: ignore[override]  # writes, for a time limit
        self,
        request: pb.ExportModelRequest,
        context: grpc.aio.ServicerContext[pb.ExportModelRequest, pb.ExportModelResponse],
    ) -> None:
        """Send a READY model as a bundle."""
        async with aclosing(self._transfers.send(request, current_principal())) as responses:
            async for response in responses:
                pace = self._transfers.limits.pace
                await taken(context.write(response), pace, len(response.data))

    async def ImportModel(
        self,
        request_iterator: AsyncIterator[pb.ImportModelRequest],
        context: grpc.aio.ServicerContext[pb.ImportModelRequest, Model],
    ) -> Model:
        """Make a model of a bundle."""
        row = await self._transfers.take(request_iterator, current_principal())
        return await self._shown(row)

    async def GetEvaluation(
        self,
        request: pb.GetEvaluationRequest,
        context: grpc.aio.ServicerContext[pb.GetEvaluationRequest, Evaluation],
    ) -> Evaluation:
        """Read what a READY model scored."""
        name = naming.parse_evaluation(request.name)
        return await asyncio.to_thread(self._evaluating.get, current_principal().tenant, name)

    async def ListEvaluations(
        self,
        request: pb.ListEvaluationsRequest,
        context: grpc.aio.ServicerContext[pb.ListEvaluationsRequest, pb.ListEvaluationsResponse],
    ) -> pb.ListEvaluationsResponse:
        """List the evaluations of a model on further datasets."""
        tenant, model = current_principal().tenant, _model_id(request.parent, "parent")
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
        self,
        request: pb.DeleteEvaluationRequest,
        context: grpc.aio.ServicerContext[pb.DeleteEvaluationRequest, Empty],
    ) -> Empty:
        """Delete an evaluation on a further dataset."""
        name = naming.parse_evaluation(request.name)
        await asyncio.to_thread(self._evaluating.delete, current_principal().tenant, name)
        return Empty()

    async def GetProjection(
        self,
        request: pb.GetProjectionRequest,
        context: grpc.aio.ServicerContext[pb.GetProjectionRequest, Projection],
    ) -> Projection:
        """Read the map of held-out texts before and after training."""
        model = naming.parse_projection(request.name)
        return await asyncio.to_thread(
            self._evaluating.projection, current_principal().tenant, model
        )

    async def GetModelCard(
        self,
        request: pb.GetModelCardRequest,
        context: grpc.aio.ServicerContext[pb.GetModelCardRequest, ModelCard],
    ) -> ModelCard:
        """Read the model card."""
        model = naming.parse_card(request.name)
        return await asyncio.to_thread(self._evaluating.card, current_principal().tenant, model)

    async def EvaluateModel(
        self,
        request: pb.EvaluateModelRequest,
        context: grpc.aio.ServicerContext[pb.EvaluateModelRequest, Evaluation],
    ) -> Evaluation:
        """Queue the scoring of a model on a further dataset."""
        principal = current_principal()
        wish = evaluating.wish(request)
        asked = Request(
            actor=principal.name,
            request_id=request.request_id,
            fingerprint=request.SerializeToString(deterministic=True),
        )
        return await asyncio.to_thread(self._evaluating.evaluate, principal.tenant, wish, asked)

    async def CompareModels(
        self,
        request: pb.CompareModelsRequest,
        context: grpc.aio.ServicerContext[pb.CompareModelsRequest, Comparison],
    ) -> Comparison:
        """Compare models on rows that all of them scored."""
        wish = evaluating.comparison_wish(request)
        return await asyncio.to_thread(self._evaluating.compare, current_principal().tenant, wish)

    async def _changed(self, change: Callable[[str, str, str], ModelRow], name: str) -> Model:
        """Carry out what the caller does with a model."""
        principal = current_principal()
        row = await asyncio.to_thread(change, principal.tenant, _model_id(name), principal.name)
        return await self._shown(row)

    async def _shown(self, row: ModelRow) -> Model:
        places = await asyncio.to_thread(self._models.positions, [row])
        return convert.model(row, queue_position=places.get(row.id, 0))


def _model_id(name: str, field: str = "name") -> str:
    return names.parse(name, Collection.MODELS, field=field).id
