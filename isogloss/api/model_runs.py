"""Runs of models: paused, resumed, renamed, and what happened to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import cached_property

from google.protobuf.field_mask_pb2 import FieldMask

from isogloss import convert
from isogloss.api.dataset_reading import PAGE_SIZE
from isogloss.api.resources import name_of
from isogloss.models import EventKind, Model, ModelEvent, StepMetrics
from isogloss.transport import Transport
from isogloss.v1 import model_pb2
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.model_service_pb2_grpc import ModelServiceStub


class ModelRuns:
    """The methods that steer runs and tell what they did."""

    def __init__(self, transport: Transport) -> None:
        """Take what reaches the service."""
        self._transport = transport

    @cached_property
    def _stub(self) -> ModelServiceStub:
        return ModelServiceStub(self._transport.channel("trainer"))

    async def pause(self, model: str | Model, *, timeout: float | None = None) -> Model:
        """Pause a model that is queued or training; what it has learnt is kept.

        A model that is still TRAINING in the answer is PAUSED within a step.
        """
        request = pb.PauseModelRequest(name=name_of(model))
        return convert.model(await self._transport.unary(self._stub.PauseModel, request, timeout))

    async def resume(self, model: str | Model, *, timeout: float | None = None) -> Model:
        """Queue a paused model again; its training goes on where it was."""
        request = pb.ResumeModelRequest(name=name_of(model))
        return convert.model(await self._transport.unary(self._stub.ResumeModel, request, timeout))

    async def cancel(self, model: str | Model, *, timeout: float | None = None) -> Model:
        """Cancel a model that is queued, training or paused; it stops within one step."""
        request = pb.CancelModelRequest(name=name_of(model))
        return convert.model(await self._transport.unary(self._stub.CancelModel, request, timeout))

    async def update(
        self,
        model: str | Model,
        *,
        display_name: str | None = None,
        webhook_uri: str | None = None,
        etag: str = "",
        timeout: float | None = None,
    ) -> Model:
        """Change what may change of a model; None leaves a thing as it is.

        Args:
            model: The model.
            display_name: A name for people, 1 to 100 characters.
            webhook_uri: Where its end is told. Empty: nowhere.
            etag: Change it only if it still has this one. Empty: in any case.
            timeout: Seconds.

        Raises:
            Aborted: It has another etag: read it again.
        """
        changes = {"display_name": display_name, "webhook_uri": webhook_uri}
        request = pb.UpdateModelRequest(
            model=model_pb2.Model(
                name=name_of(model),
                display_name=display_name or "",
                webhook_uri=webhook_uri or "",
                etag=etag,
            ),
            update_mask=FieldMask(
                paths=[path for path, change in changes.items() if change is not None]
            ),
        )
        return convert.model(await self._transport.unary(self._stub.UpdateModel, request, timeout))

    async def events(
        self,
        model: str | Model,
        *,
        kinds: Sequence[EventKind | str] = (),
        timeout: float | None = None,
    ) -> AsyncIterator[ModelEvent]:
        """Give what happened to a model so far, oldest first; `watch` tells it live.

        Args:
            model: The model.
            kinds: Only events of these kinds. Empty: all.
            timeout: Seconds for each page.
        """
        request = pb.ListModelEventsRequest(
            parent=name_of(model), page_size=PAGE_SIZE, kinds=convert.event_kinds_to_proto(kinds)
        )
        while True:
            page = await self._transport.unary(self._stub.ListModelEvents, request, timeout)
            for message in page.events:
                yield convert.model_event(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def step_metrics(
        self, model: str | Model, *, timeout: float | None = None
    ) -> AsyncIterator[StepMetrics]:
        """Give the measurements on held-out rows, by step; step 0 is the untrained baseline."""
        request = pb.ListStepMetricsRequest(parent=name_of(model), page_size=PAGE_SIZE)
        while True:
            page = await self._transport.unary(self._stub.ListStepMetrics, request, timeout)
            for message in page.step_metrics:
                yield convert.step_metrics(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
