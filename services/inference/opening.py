"""From a published model to one that is ready to compute: fetched, verified, opened, warm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.common.cleaning import Cleaner
from services.common.errors import DataLoss, FailedPrecondition, Reason
from services.common.storage import ObjectStore
from services.inference.engine import (
    EngineDied,
    Engines,
    GraphInvalid,
    GraphShape,
    Output,
    RunFailed,
)
from services.inference.file_cache import FileCache
from services.inference.manifests import Artifact, PublishedModel, download
from services.inference.model import Model, Precision
from services.inference.tokenization import TextReader

# Resident bytes of a model for each byte of its files: the 90.5 MB graph and the 0.47 MB
# tokenizer of all-MiniLM-L6-v2 grow the process by 140 and 10 MB once all lengths have run.
_GRAPH_GROWTH = 1.6
_TOKENIZER_GROWTH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """Opens models where they are computed."""

    store: ObjectStore
    cache: FileCache
    engines: Engines

    def size(self, published: PublishedModel, precision: Precision) -> int:
        """Estimate the memory that the model will take, in bytes.

        Raises:
            FailedPrecondition: Where it has no variant of that precision.
        """
        graph = _graph(published, precision)
        return int(graph.size * _GRAPH_GROWTH + published.tokenizer.size * _TOKENIZER_GROWTH)

    def open(self, published: PublishedModel, precision: Precision) -> Model:
        """Return the model, warm.

        Raises:
            FailedPrecondition: Where it has no variant of that precision.
            DataLoss: Where a file is missing, damaged, or not what its manifest says.
        """
        graph = _graph(published, precision)
        with self.cache.hold(published.tokenizer, self._fetch) as path:
            tokenizer_json = path.read_bytes()
        shape = GraphShape(
            dimension=published.dimension,
            labels=len(published.labels),
            pad_token_id=published.pad_token_id,
        )
        try:
            reader = TextReader(
                tokenizer_json, max_tokens=published.max_tokens, prefix=published.prefix
            )
            with self.cache.hold(graph, self._fetch) as path:
                engine = self.engines.open(path, shape)
            # The longest text at once, so that a model which cannot compute it never serves.
            engine.run([[published.pad_token_id] * published.max_tokens], (Output.EMBEDDING,))
        except (GraphInvalid, RunFailed, EngineDied, ValueError) as error:
            raise DataLoss(
                f"{published.name} cannot be served: {error}. Train or publish it again.",
                metadata={"name": published.name},
            ) from error
        return Model(
            name=published.name,
            precision=precision,
            digest=graph.sha256,
            dimension=published.dimension,
            max_tokens=published.max_tokens,
            labels=published.labels,
            label_mode=published.label_mode,
            thresholds=published.thresholds,
            cleaner=None if published.cleaning is None else Cleaner(published.cleaning),
            reader=reader,
            engine=engine,
            vector_range=published.vector_range,
            matryoshka_dimensions=published.matryoshka_dimensions,
        )

    def _fetch(self, artifact: Artifact, path: Path) -> None:
        download(self.store, artifact, path)


def _graph(published: PublishedModel, precision: Precision) -> Artifact:
    graph = published.graphs.get(precision)
    if graph is None:
        offered = ", ".join(sorted(known.name for known in published.graphs)) or "none"
        raise FailedPrecondition(
            f"{published.name} has no {precision.name} variant; it has: {offered}. Ask for one "
            "of these.",
            reason=Reason.PRECISION_UNAVAILABLE,
            metadata={"name": published.name, "precision": precision.name, "offered": offered},
            subjects=[published.name],
        )
    return graph
