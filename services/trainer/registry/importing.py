"""From a bundle to a READY model under a new name: files first, the manifest, then the row.

A request that broke off anywhere can be repeated under its id, and goes on with the same name.
Knows no call.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common import layout, manifests, names
from services.common.database import Database
from services.common.errors import IsoglossError
from services.common.names import Collection
from services.common.requests import claim_request, find_request
from services.common.storage import ObjectStore
from services.trainer import datasets, events, publishing, starts
from services.trainer.bell import Bell
from services.trainer.messages import Entered
from services.trainer.models import NewModel, Request, draft, find_row
from services.trainer.registry.bundle import Place, stored_files
from services.trainer.registry.probe import ProbeSpec, Refused, probe
from services.trainer.registry.unpacking import Unpacked, WrongBundle, unpack
from services.trainer.state import State
from services.trainer.tables import ModelRow, RequestRow

_METHOD = "ImportModel"
_DONE = "ImportModel done"
# Noted beside a request whose model is there: without its row, that one was deleted; a request
# without this note broke off.


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportWish:
    """What a caller wants to be made of a bundle."""

    tenant: str
    display_name: str
    """Empty: the bundle's."""


class Imports:
    """Makes models of bundles.

    Args:
        database: Where the rows are.
        store: Where the models are.
        bell: Rung when there is a new one.
        clock: Now, in UTC.
    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        bell: Bell,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._store = store
        self._bell = bell
        self._clock = clock

    def take(self, archive: Path, wish: ImportWish, request: Request) -> ModelRow:
        """Make a model of a bundle; the same request again returns the same model.

        Args:
            archive: The bundle; beside it there is room for its graphs once more.
            wish: What to make of it.
            request: Who asked; its fingerprint covers what the bundle holds.

        Raises:
            WrongBundle: Where it is none, damaged, or cannot be opened.
            AlreadyExists: Where another request had this one's id.
            NotFound: Where the same request made a model that was deleted since.
            Unavailable: Where the store or the database does not answer.
        """
        bundle = unpack(archive)
        if (row := self._made(wish.tenant, request)) is not None:
            return row
        _probe(bundle, archive.parent)
        display_name = wish.display_name or bundle.manifest.display_name
        name = names.new_name(Collection.MODELS, display_name)
        model = self._claim(wish.tenant, name.id, request)
        place = Place(tenant=wish.tenant, model=model, attempt=1, token=secrets.randbelow(1 << 31))
        manifest = self._store_files(bundle, place)
        self._describe(manifest, place, display_name)
        published = self._publish(manifest, place)
        row = self._add(published, place, request)
        publishing.tidy(self._store, row, published)
        self._bell.ring()
        return row

    def _made(self, tenant: str, request: Request) -> ModelRow | None:
        """Return what the same request made before; None where it is new or broke off."""
        with self._database.read() as session:
            done = find_request(
                session,
                RequestRow,
                tenant=tenant,
                method=_DONE,
                request_id=request.request_id,
                fingerprint=request.fingerprint,
            )
            return None if done is None else find_row(session, tenant, done)

    def _claim(self, tenant: str, model: str, request: Request) -> str:
        """Return the id of what this request makes: `model`, or that of a try that broke off."""
        with self._database.write() as session:
            return self._note(session, _METHOD, tenant, model, request) or model

    def _note(
        self, session: Session, method: str, tenant: str, model: str, request: Request
    ) -> str | None:
        return claim_request(
            session,
            RequestRow,
            tenant=tenant,
            method=method,
            request_id=request.request_id,
            fingerprint=request.fingerprint,
            resource=model,
            now=self._clock(),
        )

    def _store_files(self, bundle: Unpacked, place: Place) -> ModelManifest:
        """Store every file under the attempt's keys; return the manifest that names them."""
        manifest = ModelManifest()
        manifest.CopyFrom(bundle.manifest)
        stored = list(stored_files(manifest))
        with self._removed_on_failure(place):
            for path in sorted({file.key for file in stored}):
                self._store.put(place.key(path), bundle.read(path))
            for file in stored:
                file.key = place.key(file.key)
            if any(file.key.startswith(place.examples) for file in stored):
                self._note_texts(manifest, place)
        return manifest

    def _note_texts(self, manifest: ModelManifest, place: Place) -> None:
        """Let a purge of the dataset, where it is one of ours, find the texts that came along."""
        dataset = manifest.lineage.dataset.removeprefix("datasets/")
        published = layout.dataset_manifest(place.tenant, dataset)
        if self._store.stat(published) is None:
            return
        datasets.note_use(self._store, tenant=place.tenant, dataset=dataset, model=place.model)
        if self._store.stat(published) is None:
            # Purged meanwhile, possibly before the mark was there to be found.
            for item in list(self._store.list(place.examples)):
                self._store.delete(item.key)

    def _describe(self, manifest: ModelManifest, place: Place, display_name: str) -> None:
        manifest.lineage.imported_from = manifest.name
        manifest.lineage.import_time.FromDatetime(self._clock())
        manifest.name = f"models/{place.model}"
        manifest.display_name = display_name
        manifest.attempt, manifest.token = place.attempt, place.token

    def _publish(self, manifest: ModelManifest, place: Place) -> ModelManifest:
        """Publish the model, unless the same request did before; return the one that holds.

        Where the store does not answer, nobody knows whether it is published: files stay, and
        the same request, sent again, finds out and removes what is not needed.
        """
        key = layout.model_manifest(place.tenant, place.model)
        if manifests.create_manifest(self._store, key, manifest):
            return manifest
        return manifests.read_manifest(self._store, key, ModelManifest)

    def _add(self, manifest: ModelManifest, place: Place, request: Request) -> ModelRow:
        now = self._clock()
        row = _row(manifest, place, now)
        entered = Entered(
            state=State.READY,
            reason=f"Imported; it was {manifest.lineage.imported_from} where it was trained.",
        )
        try:
            with self._database.write() as session:
                if (before := session.get(ModelRow, (place.tenant, place.model))) is not None:
                    return before
                session.add(row)
                events.append(session, row, entered, now=now, actor=request.actor)
                self._note(session, _DONE, place.tenant, place.model, request)
        except IntegrityError:
            # The same request, at the same time, was faster.
            with self._database.read() as session:
                return session.get_one(ModelRow, (place.tenant, place.model))
        return row

    @contextlib.contextmanager
    def _removed_on_failure(self, place: Place) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(IsoglossError):
                for prefix in (place.prefix, place.examples):
                    for item in list(self._store.list(prefix)):
                        self._store.delete(item.key)
            raise


def _probe(bundle: Unpacked, directory: Path) -> None:
    manifest = bundle.manifest
    graphs = []
    keys = [
        file.key for variant in manifest.variants for file in (variant.graph, variant.half_graph)
    ]
    for number, key in enumerate(filter(None, keys)):
        path = directory / f"graph-{number}.onnx"
        _extract(bundle, key, path)
        graphs.append(str(path))
    tokenizer = directory / "tokenizer.json"
    _extract(bundle, manifest.input.tokenizer.key, tokenizer)
    predictions = directory / "predictions.parquet"
    if manifest.predictions.key:
        _extract(bundle, manifest.predictions.key, predictions)
    spec = ProbeSpec(
        graphs=graphs,
        tokenizer=str(tokenizer),
        predictions=str(predictions) if manifest.predictions.key else "",
        dimension=manifest.dimension,
        labels=len(manifest.labels),
        max_tokens=manifest.input.max_tokens,
        pad_token_id=manifest.input.pad_token_id,
        parent=os.getpid(),
    )
    try:
        probe(spec)
    except Refused as refused:
        raise WrongBundle(str(refused)) from refused


def _extract(bundle: Unpacked, path: str, target: Path) -> None:
    with target.open("wb") as file:
        for chunk in bundle.read(path):
            file.write(chunk)


def _row(manifest: ModelManifest, place: Place, now: datetime) -> ModelRow:
    lineage, facts = manifest.lineage, publishing.facts(manifest)
    new = NewModel(
        tenant=place.tenant,
        id=place.model,
        display_name=manifest.display_name,
        base_model=starts.reference(
            names.parse(lineage.base_model, Collection.BASE_MODELS, Collection.MODELS)
        ),
        dataset=lineage.dataset.removeprefix("datasets/"),
        dataset_content_hash=lineage.dataset_content_hash,
        label_count=len(manifest.labels),
        hyperparameters=facts.hyperparameters,
        positive_label=lineage.positive_label,
    )
    row = draft(new, now)
    row.attempt, row.token = place.attempt, place.token
    row.variants = facts.variants
    row.dimension = facts.dimension
    row.max_tokens = facts.max_tokens
    return row
