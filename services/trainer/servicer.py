"""`isogloss.v1.ModelService`: parse, call, convert."""

# ruff: noqa: N802, ARG002 (names and signatures are gRPC's)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from google.protobuf.empty_pb2 import Empty

from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.model_pb2 import Model
from isogloss.v1.model_service_pb2_grpc import ModelServiceServicer
from services.common import names, pagination
from services.common.identity import Role, current_principal
from services.common.names import Collection
from services.common.storage import ObjectStore
from services.trainer import convert, publishing
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.creation import Creation
from services.trainer.models import Models, Request
from services.trainer.watching import Watch

SERVICE = "isogloss.v1.ModelService"

ROLES = {
    f"/{SERVICE}/ListBaseModels": Role.READ,
    f"/{SERVICE}/CreateModel": Role.WRITE,
    f"/{SERVICE}/GetModel": Role.READ,
    f"/{SERVICE}/ListModels": Role.READ,
    f"/{SERVICE}/WatchModel": Role.READ,
    f"/{SERVICE}/CancelModel": Role.WRITE,
    f"/{SERVICE}/DeleteModel": Role.WRITE,
    f"/{SERVICE}/GetEvaluation": Role.READ,
}


class ModelServicer(ModelServiceServicer):
    """Answers the calls; blocking work goes to threads.

    Args:
        models: The rows.
        creation: The way in and out.
        catalogue: The base models.
        store: Where evaluations are.
        bell: Rings when something changed in this process.
        poll_seconds: How often a watched model is read again.
    """

    def __init__(
        self,
        *,
        models: Models,
        creation: Creation,
        catalogue: Catalogue,
        store: ObjectStore,
        bell: Bell,
        poll_seconds: float,
    ) -> None:
        """Keep the parts."""
        self._models = models
        self._creation = creation
        self._catalogue = catalogue
        self._store = store
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
        wish = convert.wish(request.model, tenant=principal.tenant)
        asked = Request(
            actor=principal.name,
            request_id=request.request_id,
            fingerprint=request.SerializeToString(deterministic=True),
        )
        step = self._creation.check if request.validate_only else self._creation.create
        return convert.model(await asyncio.to_thread(step, wish, asked))

    async def GetModel(
        self,
        request: pb.GetModelRequest,
        context: grpc.aio.ServicerContext[pb.GetModelRequest, Model],
    ) -> Model:
        """Read one model."""
        return convert.model(
            await asyncio.to_thread(
                self._models.get, current_principal().tenant, _model_id(request.name)
            )
        )

    async def ListModels(
        self,
        request: pb.ListModelsRequest,
        context: grpc.aio.ServicerContext[pb.ListModelsRequest, pb.ListModelsResponse],
    ) -> pb.ListModelsResponse:
        """List models, newest first."""
        tenant = current_principal().tenant
        page = pagination.page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListModels", tenant),
        )
        found = await asyncio.to_thread(
            self._models.list, tenant, page, lambda row: convert.model(row).ByteSize()
        )
        return pb.ListModelsResponse(
            models=[convert.model(row) for row in found.items],
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
            for row, event in await asyncio.to_thread(watch.look):
                yield pb.WatchModelResponse(
                    model=convert.model(row), event=convert.event(event) if event else None
                )
            if watch.ended:
                return
            if not watch.behind:
                await self._bell.wait(self._poll_seconds)

    async def CancelModel(
        self,
        request: pb.CancelModelRequest,
        context: grpc.aio.ServicerContext[pb.CancelModelRequest, Model],
    ) -> Model:
        """Cancel a model that is queued or training."""
        principal = current_principal()
        return convert.model(
            await asyncio.to_thread(
                self._creation.cancel, principal.tenant, _model_id(request.name), principal.name
            )
        )

    async def DeleteModel(
        self,
        request: pb.DeleteModelRequest,
        context: grpc.aio.ServicerContext[pb.DeleteModelRequest, Empty],
    ) -> Empty:
        """Delete a model and all that is stored of it."""
        principal = current_principal()
        await asyncio.to_thread(
            self._creation.delete, principal.tenant, _model_id(request.name), principal.name
        )
        return Empty()

    async def GetEvaluation(
        self,
        request: pb.GetEvaluationRequest,
        context: grpc.aio.ServicerContext[pb.GetEvaluationRequest, Evaluation],
    ) -> Evaluation:
        """Read what a READY model scored on held-out rows."""
        model = convert.evaluated_model(request.name)
        row = await asyncio.to_thread(self._models.get, current_principal().tenant, model)
        return await asyncio.to_thread(publishing.evaluation, self._store, row)


def _model_id(name: str) -> str:
    return names.parse(name, Collection.MODELS).id
