"""Answers the calls that look at models and change nothing.

Knows messages, and who asks; the domain is called in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.model_pb2 import Model
from services.common import pagination
from services.common.identity import current_principal
from services.trainer import convert, requests
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.history import History
from services.trainer.models import Models
from services.trainer.tables import ModelRow
from services.trainer.watching import Watch


class Viewer:
    """Models as their tenant sees them.

    Args:
        models: The rows.
        history: What happened to them.
        catalogue: The base models.
        bell: Rings when something changed in this process.
        poll_seconds: How often a watched model is read again.
    """

    def __init__(
        self,
        *,
        models: Models,
        history: History,
        catalogue: Catalogue,
        bell: Bell,
        poll_seconds: float,
    ) -> None:
        """Keep the parts."""
        self._models = models
        self._history = history
        self._catalogue = catalogue
        self._bell = bell
        self._poll_seconds = poll_seconds

    async def shown(self, row: ModelRow) -> Model:
        """Return a model with its place in the queue."""
        places = await asyncio.to_thread(self._models.positions, [row])
        return convert.model(row, queue_position=places.get(row.id, 0))

    async def bases(self, request: pb.ListBaseModelsRequest) -> pb.ListBaseModelsResponse:
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

    async def get(self, request: pb.GetModelRequest) -> Model:
        """Read one model."""
        model = requests.model_id(request.name)
        return await self.shown(
            await asyncio.to_thread(self._models.get, current_principal().tenant, model)
        )

    async def list(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
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

    async def watch(self, request: pb.WatchModelRequest) -> AsyncGenerator[pb.WatchModelResponse]:
        """Send what happened to a model, then what happens."""
        watch = Watch(
            self._models,
            tenant=current_principal().tenant,
            model=requests.model_id(request.name),
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

    async def events(self, request: pb.ListModelEventsRequest) -> pb.ListModelEventsResponse:
        """List what happened to a model."""
        tenant, model = current_principal().tenant, requests.model_id(request.parent, "parent")
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

    async def step_metrics(self, request: pb.ListStepMetricsRequest) -> pb.ListStepMetricsResponse:
        """List the measurements on held-out rows."""
        tenant, model = current_principal().tenant, requests.model_id(request.parent, "parent")
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
