"""What models scored: their own evaluations, further ones, maps and comparisons."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence

from isogloss import evaluation_convert as convert
from isogloss.api.dataset_reading import PAGE_SIZE
from isogloss.api.model_runs import ModelRuns
from isogloss.api.resources import name_of
from isogloss.comparisons import Comparison, Projection
from isogloss.dataset_report import Split
from isogloss.datasets import Dataset
from isogloss.errors import DeadlineExceeded
from isogloss.evaluations import Evaluation, EvaluationState
from isogloss.models import Model
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1 import split_pb2
from isogloss.wire import chosen, number

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class ModelEvaluations(ModelRuns):
    """The methods that score models and read what they scored."""

    async def evaluation(
        self, model: str | Model | Evaluation, *, timeout: float | None = None
    ) -> Evaluation:
        """Read what a READY model scored, or one of its further evaluations.

        Args:
            model: A model: what its run scored on held-out rows, beside the untrained baseline.
                Or an evaluation, `models/{model}/evaluations/{evaluation}`.
            timeout: Seconds.
        """
        name = model.name if isinstance(model, Evaluation) else name_of(model)
        own = name if "/evaluation" in name else f"{name}/evaluation"
        return convert.evaluation(
            await self._transport.unary(
                self._stub.GetEvaluation, pb.GetEvaluationRequest(name=own), timeout
            )
        )

    async def evaluations(
        self, model: str | Model, *, timeout: float | None = None
    ) -> AsyncIterator[Evaluation]:
        """Give the evaluations of a model on further datasets, newest first, in short."""
        request = pb.ListEvaluationsRequest(parent=name_of(model), page_size=PAGE_SIZE)
        while True:
            page = await self._transport.unary(self._stub.ListEvaluations, request, timeout)
            for message in page.evaluations:
                yield convert.evaluation(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def evaluate(
        self,
        model: str | Model,
        *,
        dataset: str | Dataset,
        split: Split | str | None = None,
        timeout: float | None = None,
    ) -> Evaluation:
        """Queue the scoring of a READY model on the rows of a further dataset.

        Args:
            model: Which.
            dataset: Whose rows, `datasets/{dataset}`.
            split: Which of its rows. None: test, else validation, else train.
            timeout: Seconds.
        """
        request = pb.EvaluateModelRequest(
            name=name_of(model),
            dataset=name_of(dataset),
            split=_split(split),
            request_id=str(uuid.uuid4()),
        )
        return convert.evaluation(
            await self._transport.unary(self._stub.EvaluateModel, request, timeout)
        )

    async def wait_for_evaluation(
        self, evaluation: str | Evaluation, *, timeout: float | None = None
    ) -> Evaluation:
        """Wait until an evaluation is READY and return it.

        Args:
            evaluation: Which.
            timeout: Seconds for all of it. None: no limit.

        Raises:
            FailedPrecondition: It failed for good.
            DeadlineExceeded: The time is over; the evaluation goes on.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            found = await self.evaluation(_name(evaluation))
            if found.state is EvaluationState.FAILED and found.error is not None:
                raise found.error
            if found.state.final:
                return found
            if end is not None and time.monotonic() + pause > end:
                raise DeadlineExceeded(f"{found.name} is still {found.state.lower()}.")
            await self._transport.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def delete_evaluation(
        self, evaluation: str | Evaluation, *, timeout: float | None = None
    ) -> None:
        """Delete an evaluation on a further dataset."""
        request = pb.DeleteEvaluationRequest(name=_name(evaluation))
        await self._transport.unary(self._stub.DeleteEvaluation, request, timeout)

    async def projection(self, model: str | Model, *, timeout: float | None = None) -> Projection:
        """Read the map of held-out texts before and after training."""
        request = pb.GetProjectionRequest(name=f"{name_of(model)}/projection")
        return convert.projection(
            await self._transport.unary(self._stub.GetProjection, request, timeout)
        )

    async def card(self, model: str | Model, *, timeout: float | None = None) -> str:
        """Read the model card of a READY model: Markdown, without texts of the dataset."""
        request = pb.GetModelCardRequest(name=f"{name_of(model)}/card")
        answer = await self._transport.unary(self._stub.GetModelCard, request, timeout)
        return answer.markdown

    async def compare(
        self,
        models: Sequence[str | Model],
        *,
        dataset: str | Dataset | None = None,
        split: Split | str | None = None,
        timeout: float | None = None,
    ) -> Comparison:
        """Compare models on rows that all of them scored, pair by pair.

        Args:
            models: Two to ten.
            dataset: Whose rows. None: those that the first model was trained with.
            split: Which of its rows. None: those that the first model's evaluation scored.
            timeout: Seconds.
        """
        request = pb.CompareModelsRequest(
            models=[name_of(model) for model in models],
            dataset="" if dataset is None else name_of(dataset),
            split=_split(split),
        )
        return convert.comparison(
            await self._transport.unary(self._stub.CompareModels, request, timeout)
        )


def _name(evaluation: str | Evaluation) -> str:
    return evaluation if isinstance(evaluation, str) else evaluation.name


def _split(given: Split | str | None) -> split_pb2.Split.ValueType:
    return number(split_pb2.Split.Value, "SPLIT", chosen(Split, "split", given))
