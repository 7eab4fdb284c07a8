"""Creating and deleting models: what is checked, and what is left in the store.

Knows neither gRPC nor how a model is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.common import manifests, names
from services.common.errors import FieldViolation, InvalidArgument
from services.common.names import Collection
from services.common.requests import check_request_id
from services.common.storage import ObjectStore
from services.trainer import datasets, estimate, publishing, starts
from services.trainer.catalogue import Catalogue
from services.trainer.control import Control
from services.trainer.datasets import Dataset
from services.trainer.models import Models, NewModel, Request, draft
from services.trainer.recipe import MOST_CUTS, RANGES, Preset
from services.trainer.tables import ModelRow
from services.trainer.webhooks.addresses import Addresses

_CUTS = "matryoshka_dimensions"

_SPECIAL_TOKENS = 4
# Around a text: two in every base that was tried.


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A model as a caller asks for it, unchecked."""

    tenant: str
    display_name: str
    base_model: str
    """Full resource name, like `dataset`."""

    dataset: str
    hyperparameters: Mapping[str, Any]
    """What was set, by name."""

    positive_label: str
    webhook_uri: str = ""
    auto_start: bool = True
    """Otherwise it is PAUSED at first."""


class Creation:
    """The way in and out.

    Args:
        models: The rows.
        control: What is done with rows that exist.
        catalogue: The base models.
        store: Where datasets and models are.
        addresses: Where webhooks may go.
        threads: CPU threads of a run, for estimates.
    """

    def __init__(
        self,
        models: Models,
        control: Control,
        catalogue: Catalogue,
        store: ObjectStore,
        *,
        addresses: Addresses,
        threads: int,
    ) -> None:
        """Keep the parts."""
        self._models = models
        self._control = control
        self._addresses = addresses
        self._threads = threads
        self._catalogue = catalogue
        self._store = store

    def check(self, wish: Wish, request: Request) -> ModelRow:
        """Return the model as it would be created; create nothing.

        Raises:
            InvalidArgument: With everything that is wrong with the request.
            NotFound: Where the base or the dataset does not exist.
            FailedPrecondition: Where the dataset is not READY.
            ResourceExhausted: Where as many of the tenant's models wait as may.
        """
        found = self._resolve(wish, request, model="")
        self._models.check_room(wish.tenant)
        return draft(found, datetime.now(UTC))

    def create(self, wish: Wish, request: Request) -> ModelRow:
        """Queue a model; the same request again returns the same model.

        Raises:
            InvalidArgument, NotFound, FailedPrecondition: As `check`.
            AlreadyExists: Where another request had this one's id.
        """
        # First, as what the request needs may have changed since it was granted.
        row = self._models.repeated(wish.tenant, request)
        if row is None:
            name = names.new_name(Collection.MODELS, wish.display_name)
            row = self._models.add(self._resolve(wish, request, model=name.id), request)
        if not row.phase.ended:
            # After the row: a mark without a model would keep its dataset from deletion for
            # good. A trainer leaves them again when it takes the run, should this stop here.
            publishing.announce(self._store, row)
            if not self._models.exists(row.tenant, row.id):
                # Deleted meanwhile, possibly before these marks were there to be removed.
                publishing.remove(self._store, row)
        return row

    def cancel(self, tenant: str, model: str, actor: str) -> ModelRow:
        """Cancel a model; see `Control.cancel`.

        Raises:
            NotFound: Where the tenant has none of that id.
            FailedPrecondition: Where it is READY or FAILED.
        """
        row = self._control.cancel(tenant, model, actor)
        # A trainer that died between publishing and saying so does not take it back itself.
        publishing.withdraw(self._store, row)
        return row

    def delete(self, tenant: str, model: str, actor: str) -> None:
        """Stop the run and remove all that is stored of a model.

        The row goes last: a deletion that broke off can be repeated.

        Raises:
            NotFound: Where the tenant has none of that id.
        """
        row = self._control.stop(tenant, model, actor)
        publishing.remove(self._store, row)
        self._control.forget(tenant, model)
        # Again: a trainer or a creation that saw the row until now may have left its marks, and
        # nobody who looks from now on finds the row and leaves any.
        publishing.remove(self._store, row)

    def _check_start(self, tenant: str, start: str) -> None:
        """Refuse what is no base, or no model that is READY."""
        if starts.is_fine_tuned(start):
            publishing.required(self._store, self._models.get(tenant, start.partition("/")[2]))
        else:
            self._catalogue.get(start)

    def _check_room(self, wish: Wish, start: str) -> None:
        """Refuse a length that the base's prefix fills; of an unpublished base the run tells."""
        most = wish.hyperparameters.get("max_tokens", RANGES["max_tokens"].most)
        manifest = starts.find(self._store, wish.tenant, start)
        prefix = "" if manifest is None else manifest.input.prefix
        # A token has a byte at least: a tokenizer takes megabytes, and is rarely needed.
        if manifest is None or not prefix or most > len(prefix.encode()) + _SPECIAL_TOKENS:
            return
        # Imported here, as it is.
        from tokenizers import Tokenizer  # noqa: PLC0415

        from services.trainer.tokenize import no_room, tokens_of  # noqa: PLC0415

        content = b"".join(manifests.verified(self._store, manifest.input.tokenizer))
        taken = tokens_of(Tokenizer.from_str(content.decode()), prefix)
        if taken >= most:
            problem = f"{no_room(prefix, taken, most)} Take more, or leave it unset."
            field = "model.hyperparameters.max_tokens"
            raise InvalidArgument(FieldViolation(field=field, description=problem))

    def _check_cuts(self, wish: Wish, start: str) -> None:
        """Refuse to cut embeddings to more than they have; of an unpublished base the run tells."""
        manifest = starts.find(self._store, wish.tenant, start)
        longest = max(wish.hyperparameters.get(_CUTS, [0]))
        if manifest is not None and longest >= manifest.dimension:
            problem = (
                f"has {longest}: embeddings of {starts.full_name(start)} have {manifest.dimension} "
                "numbers; give fewer."
            )
            field = f"model.hyperparameters.{_CUTS}"
            raise InvalidArgument(FieldViolation(field=field, description=problem))

    def _resolve(self, wish: Wish, request: Request, *, model: str) -> NewModel:
        violations = check_request_id(request.request_id)
        violations += names.check_display_name(wish.display_name, field="model.display_name")
        base = starts.read(wish.base_model, field="model.base_model", violations=violations)
        dataset = names.read_id(
            wish.dataset, Collection.DATASETS, field="model.dataset", violations=violations
        )
        violations += _unusable(wish.hyperparameters)
        violations += self._addresses.check(wish.webhook_uri, field="model.webhook_uri")
        if violations:
            raise InvalidArgument(violations)
        found = datasets.find(self._store, tenant=wish.tenant, dataset=dataset)
        self._check_start(wish.tenant, base)
        self._check_room(wish, base)
        self._check_cuts(wish, base)
        _check_labels(found, wish.positive_label)
        return NewModel(
            tenant=wish.tenant,
            id=model,
            display_name=wish.display_name,
            base_model=base,
            dataset=dataset,
            dataset_content_hash=found.content_hash,
            label_count=len(found.labels),
            hyperparameters=wish.hyperparameters,
            positive_label=wish.positive_label,
            webhook_uri=wish.webhook_uri,
            estimate=estimate.of_run(
                self._store,
                self._catalogue,
                wish.hyperparameters,
                tenant=wish.tenant,
                dataset=dataset,
                base=base,
                threads=self._threads,
            ),
            auto_start=wish.auto_start,
        )


def _unusable(hyperparameters: Mapping[str, Any]) -> list[FieldViolation]:
    wrong = [
        (name, f"{value:g} is out of range: {RANGES[name].least:g} to {RANGES[name].most:g}.")
        for name, given in hyperparameters.items()
        for value in (given if isinstance(given, list) else [given])
        # Written so that NaN is out of every range.
        if name in RANGES and not RANGES[name].least <= value <= RANGES[name].most
    ]
    cuts = hyperparameters.get(_CUTS, [])
    if len(cuts) > MOST_CUTS or cuts != sorted(set(cuts)):
        wrong.append((_CUTS, f"has {cuts[: MOST_CUTS + 1]}: give {MOST_CUTS} at most, ascending."))
    preset = hyperparameters.get("preset", Preset.BALANCED)
    if preset not in list(Preset):
        wrong.append(("preset", f"{preset} is none of {', '.join(Preset)}."))
    return [
        FieldViolation(
            field=f"model.hyperparameters.{name}",
            description=f"{problem} Leave it unset to have it chosen.",
        )
        for name, problem in wrong
    ]


def _check_labels(dataset: Dataset, positive_label: str) -> None:
    if not positive_label:
        return
    field = "model.positive_label"
    shown = ", ".join(repr(label) for label in dataset.labels[:10])
    if dataset.multi:
        problem = f"needs one label a text; in {dataset.name} a text can have several."
    elif len(dataset.labels) != 2:  # noqa: PLR2004 (binary means two)
        problem = f"needs a dataset of exactly two labels; this one has {len(dataset.labels)}."
    elif positive_label not in dataset.labels:
        problem = f"{positive_label!r} is no label of {dataset.name}, which has {shown}."
    else:
        return
    raise InvalidArgument(FieldViolation(field=field, description=problem))
