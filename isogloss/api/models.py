"""The methods of the model service."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from isogloss import convert
from isogloss.api.bundles import import_bundle
from isogloss.api.dataset_reading import PAGE_SIZE
from isogloss.api.download import save
from isogloss.api.model_evaluations import ModelEvaluations
from isogloss.api.resources import name_of
from isogloss.api.streams import watched
from isogloss.datasets import Dataset, DownloadProgress
from isogloss.errors import ModelCancelled, ModelFailed
from isogloss.models import (
    BaseModel,
    Hyperparameters,
    Model,
    ModelState,
    ModelUpdate,
    StateChange,
)
from isogloss.transport import Facade, blocking, blocking_stream
from isogloss.v1 import model_pb2
from isogloss.v1 import model_service_pb2 as pb


class AsyncModels(ModelEvaluations):
    """Models: create, watch, evaluate, cancel, delete.

    Every method takes `timeout`, in seconds; None is the client's default, and no limit for
    what watches or waits.
    """

    async def bases(self, *, timeout: float | None = None) -> AsyncIterator[BaseModel]:
        """Give what models can start from."""
        request = pb.ListBaseModelsRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._transport.unary(self._stub.ListBaseModels, request, timeout)
            for message in page.base_models:
                yield convert.base_model(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def create(
        self,
        display_name: str,
        *,
        dataset: str | Dataset,
        base_model: str | BaseModel | Model = "baseModels/small",
        hyperparameters: Hyperparameters | None = None,
        positive_label: str = "",
        webhook_uri: str = "",
        auto_start: bool = True,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Model:
        """Create a model and queue its training; `wait` or `watch` follow it.

        Args:
            display_name: A name for people, 1 to 100 characters.
            dataset: What it learns, `datasets/{dataset}`.
            base_model: What it starts from, `baseModels/{base_model}`, or a READY `models/{model}`
                that is trained further.
            hyperparameters: How it learns; what is None is chosen by the server.
            positive_label: Of exactly two labels the one that metrics are told for.
            webhook_uri: Where its end is told: an address at a host that the operator allows.
            auto_start: Queue it at once; otherwise it is PAUSED and `resume` begins it.
            validate_only: Check the request and create nothing; the answer has an estimate.
            timeout: Seconds.
        """
        request = pb.CreateModelRequest(
            model=model_pb2.Model(
                display_name=display_name,
                dataset=name_of(dataset),
                base_model=name_of(base_model),
                hyperparameters=convert.hyperparameters_to_proto(
                    hyperparameters or Hyperparameters()
                ),
                positive_label=positive_label,
                webhook_uri=webhook_uri,
            ),
            auto_start=auto_start,
            request_id=str(uuid.uuid4()),
            validate_only=validate_only,
        )
        return convert.model(await self._transport.unary(self._stub.CreateModel, request, timeout))

    async def get(self, model: str | Model, *, timeout: float | None = None) -> Model:
        """Read one model."""
        request = pb.GetModelRequest(name=name_of(model))
        return convert.model(await self._transport.unary(self._stub.GetModel, request, timeout))

    async def list(
        self,
        *,
        states: Sequence[ModelState | str] = (),
        query: str = "",
        dataset: str | Dataset = "",
        base_model: str | BaseModel = "",
        timeout: float | None = None,
    ) -> AsyncIterator[Model]:
        """Give models, newest first.

        Args:
            states: Only those in one of these states. Empty: all.
            query: Only those whose display name holds this, whatever the case. Empty: all.
            dataset: Only those that learn it. Empty: all.
            base_model: Only those that start from it. Empty: all.
            timeout: Seconds for each page.
        """
        request = pb.ListModelsRequest(
            page_size=PAGE_SIZE,
            states=convert.model_states_to_proto(states),
            query=query,
            dataset=name_of(dataset),
            base_model=name_of(base_model),
        )
        while True:
            page = await self._transport.unary(self._stub.ListModels, request, timeout)
            for message in page.models:
                yield convert.model(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch(
        self, model: str | Model, *, after_sequence: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[ModelUpdate]:
        """Give the events of a model, past ones first, until it is READY, FAILED or CANCELLED.

        A connection that breaks is taken up again after the last event.

        Args:
            model: The model.
            after_sequence: Only events after this one. 0: all.
            timeout: Seconds for all of it. None: no limit.
        """
        request = pb.WatchModelRequest(name=name_of(model), after_sequence=after_sequence)
        replies = watched(
            self._transport,
            lambda: self._transport.stream(self._stub.WatchModel, request, timeout),
            lambda reply: convert.model(reply.model).state.final,
        )
        async with aclosing(replies):
            async for reply in replies:
                event = convert.model_event(reply.event) if reply.HasField("event") else None
                if event is not None:
                    request.after_sequence = event.sequence
                yield ModelUpdate(model=convert.model(reply.model), event=event)

    async def wait(
        self,
        model: str | Model,
        *,
        timeout: float | None = None,
        progress: Callable[[ModelUpdate], None] | None = None,
    ) -> Model:
        """Wait until a model is READY and return it.

        Args:
            model: The model.
            timeout: Seconds. None: no limit.
            progress: Is told each event.

        Raises:
            ModelFailed: The run failed for good.
            ModelCancelled: Somebody cancelled it.
        """
        update = None
        async with aclosing(self.watch(model, timeout=timeout)) as updates:
            async for update in updates:
                if progress is not None:
                    progress(update)
                detail = update.event.detail if update.event else None
                if isinstance(detail, StateChange) and detail.state.final:
                    break
        current = update.model if update else await self.get(model)
        return outcome(current)

    async def delete(
        self, model: str | Model, *, force: bool = False, timeout: float | None = None
    ) -> None:
        """Delete a model and all that is stored of it; a run is cancelled first.

        Args:
            model: The model.
            force: Although aliases stand for it, which then answer with an error.
            timeout: Seconds.

        Raises:
            FailedPrecondition: Aliases stand for it; `violations` names them.
        """
        request = pb.DeleteModelRequest(name=name_of(model), force=force)
        await self._transport.unary(self._stub.DeleteModel, request, timeout)

    async def export(
        self,
        model: str | Model,
        *,
        to: str | os.PathLike[str],
        include_examples: bool = False,
        timeout: float | None = None,
        progress: Callable[[DownloadProgress], None] | None = None,
    ) -> Path:
        """Write a READY model into one file that works without this package and its servers.

        It is a tar archive; `loader.py` in it embeds and classifies. `import_` takes it back.

        Args:
            model: The model.
            to: The file; it appears when it is whole.
            include_examples: With the texts of the dataset that the evaluation shows; otherwise
                no text is in it.
            timeout: Seconds for each try. None: no limit.
            progress: Is told how many bytes came.

        Returns:
            The file.
        """
        request = pb.ExportModelRequest(name=name_of(model), include_examples=include_examples)
        path = Path(to)
        await save(
            self._transport,
            lambda: self._transport.stream(self._stub.ExportModel, request, timeout),
            path,
            progress,
        )
        return path

    async def import_(
        self,
        bundle: str | os.PathLike[str],
        *,
        display_name: str = "",
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Model:
        """Make a model of what `export` wrote, READY, under a new name.

        Args:
            bundle: The file.
            display_name: A name for people. Empty: the one it had.
            timeout: Seconds for each try. None: no limit.
            progress: Is told the bytes that were sent, from another thread.

        Raises:
            InvalidArgument: The file is no bundle, or a damaged one.
        """
        return await import_bundle(
            self._transport,
            self._stub,
            Path(bundle),
            display_name=display_name,
            timeout=timeout,
            progress=progress,
        )


class Models(Facade[AsyncModels]):
    """Models, blocking: the methods of `AsyncModels`."""

    bases = blocking_stream(AsyncModels.bases)
    create = blocking(AsyncModels.create)
    get = blocking(AsyncModels.get)
    list = blocking_stream(AsyncModels.list)
    watch = blocking_stream(AsyncModels.watch)
    wait = blocking(AsyncModels.wait)
    pause = blocking(AsyncModels.pause)
    resume = blocking(AsyncModels.resume)
    cancel = blocking(AsyncModels.cancel)
    update = blocking(AsyncModels.update)
    events = blocking_stream(AsyncModels.events)
    step_metrics = blocking_stream(AsyncModels.step_metrics)
    delete = blocking(AsyncModels.delete)
    export = blocking(AsyncModels.export)
    import_ = blocking(AsyncModels.import_)
    evaluation = blocking(AsyncModels.evaluation)
    evaluations = blocking_stream(AsyncModels.evaluations)
    evaluate = blocking(AsyncModels.evaluate)
    wait_for_evaluation = blocking(AsyncModels.wait_for_evaluation)
    delete_evaluation = blocking(AsyncModels.delete_evaluation)
    projection = blocking(AsyncModels.projection)
    card = blocking(AsyncModels.card)
    compare = blocking(AsyncModels.compare)


def outcome(model: Model) -> Model:
    """Return a READY model.

    Raises:
        ModelFailed: It failed.
        ModelCancelled: It was cancelled.
    """
    if model.state is ModelState.READY:
        return model
    why = model.state_reason or "no reason was given"
    metadata = {"name": model.name, "state": model.state.value}
    if model.state is ModelState.CANCELLED:
        raise ModelCancelled(f"{model.name} was cancelled: {why}", metadata=metadata)
    error = model.error
    raise ModelFailed(
        f"{model.name} failed: {error.message if error else why}",
        code=error.code if error else None,
        reason=error.reason if error else "TRAINING_FAILED",
        metadata=metadata,
        violations=error.violations if error else (),
    )
