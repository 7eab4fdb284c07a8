"""From a published model to one that is ready to compute: fetched, verified, opened, warm."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from services.common.cleaning import Cleaner
from services.common.errors import DataLoss, FailedPrecondition, Reason, Unavailable
from services.inference.artifact import Artifact
from services.inference.engine import (
    Engine,
    EngineDied,
    Engines,
    GraphInvalid,
    GraphShape,
    Output,
    RunFailed,
)
from services.inference.fetched.download import Downloader
from services.inference.fetched.file_cache import FileCache
from services.inference.fetched.room import room_on_disk
from services.inference.manifests import PublishedModel
from services.inference.memory import allocated
from services.inference.model import Model, Precision
from services.inference.neighbours.fetching import NeighbourReader
from services.inference.tokenization import TextReader

# Bytes in memory for each byte on the disk, before anything is measured: the 90.5 MB graph of
# all-MiniLM-L6-v2 allocates 91.4 MB (8-bit: 70.0 and 72.4), its 0.47 MB tokenizer 10 MB.
_GRAPH_GROWTH = 1.05
_TOKENIZER_GROWTH = 24

# What is measured counts within these bounds for each byte of the graph: other threads allocate
# at the same time, and a graph may be opened in another process.
_LEAST_GROWTH = 0.9
_MOST_GROWTH = 2.0

# What a model computes before it serves, beside its longest text: on one core the first of such
# runs took 5.8 ms, the seventh and all later ones 3.3.
_SHORT_TOKENS = 16
_SHORT_RUNS = 8

# What whoever meets an engine that died is told to wait: it is started again at once.
_DIED_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What a model is opened from, on this machine's disk."""

    tokenizer: Path
    graph: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model that is ready to compute, and what it takes."""

    model: Model
    size: int
    """Bytes of memory."""


class Opener:
    """Opens models where they are computed, one after the other."""

    def __init__(
        self,
        *,
        cache: FileCache,
        downloader: Downloader,
        engines: Engines,
        neighbours: NeighbourReader,
    ) -> None:
        """Keep the parts.

        Args:
            cache: Where files are kept.
            downloader: Brings those that are not there.
            engines: Where graphs are computed.
            neighbours: Reads the rows that a model learnt from, once they are asked for.
        """
        self._cache = cache
        self._downloader = downloader
        self._engines = engines
        self._neighbours = neighbours
        # Models that were trained from the same base read texts by the same file. Parsing it
        # keeps every other Python thread waiting (0.02 s for 0.5 MB), and takes most memory
        # beside the graph.
        self._readers: WeakValueDictionary[tuple[object, ...], TextReader] = WeakValueDictionary()
        # While it keeps all others waiting, it must not itself wait for a processor: never on the
        # thread of low priority that opens, nor on one that such a thread begins and that
        # inherits it.
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="parsing")
        self._parsing.submit(int)

    def close(self) -> None:
        """End the threads; what is under way is not waited for."""
        self._parsing.shutdown(wait=False, cancel_futures=True)
        self._downloader.close()
        self._neighbours.close()

    def size(self, published: PublishedModel, precision: Precision) -> int:
        """Estimate the memory that the model will take, in bytes.

        Raises:
            FailedPrecondition: Where it has no variant of that precision.
        """
        graph = self._graph(published, precision)
        whole = int(graph.size * _GRAPH_GROWTH * self._engines.copies)
        return whole + _beside(published, precision)

    @contextmanager
    def files(self, published: PublishedModel, precision: Precision) -> Iterator[Files]:
        """Provide what the model is opened from, verified, until the block ends.

        Raises:
            FailedPrecondition: Where it has no variant of that precision.
            DataLoss: Where a file is missing or damaged.
            ResourceExhausted: Where the files do not fit on this machine's disk.
            Unavailable: Where the store does not answer.
        """
        graph, fetch = self._graph(published, precision), self._downloader.fetch
        with (
            self._cache.hold(published.tokenizer, fetch) as tokenizer_path,
            self._cache.hold(graph, fetch) as graph_path,
        ):
            yield Files(tokenizer=tokenizer_path, graph=graph_path)

    def open(self, published: PublishedModel, precision: Precision, files: Files) -> Opened:
        """Return the model, warm. Not for several threads at once: memory is measured.

        Raises:
            DataLoss: Where a file is not what its manifest says.
            ResourceExhausted: Where the disk has no room for what computes.
            Unavailable: Where what computes broke down meanwhile.
        """
        graph = self._graph(published, precision)
        try:
            reader = self._reader(published, files.tokenizer)
            before = allocated()
            with room_on_disk(graph, files.graph.parent):
                engine = self._engine(published, files.graph)
            after = allocated()
        except (GraphInvalid, RunFailed, ValueError) as error:
            raise DataLoss(
                f"{published.name} cannot be served: {error}. Train or publish it again.",
                metadata={"name": published.name},
            ) from error
        except EngineDied as error:
            raise Unavailable(
                f"{published.name} was not loaded: {error}. Try again.",
                metadata={"name": published.name},
                retry_after=_DIED_SECONDS,
            ) from error
        size = self.size(published, precision)
        if before is not None and after is not None:
            whole = graph.size * self._engines.copies
            least, most = int(whole * _LEAST_GROWTH), int(whole * _MOST_GROWTH)
            size = min(max(after - before, least), most) + _beside(published, precision)
        return Opened(model=self._model(published, precision, reader, engine), size=size)

    def _reader(self, published: PublishedModel, tokenizer: Path) -> TextReader:
        # Everything that a reader is made of.
        made_of = (published.tokenizer.sha256, published.max_tokens, published.prefix)
        reader = self._readers.get(made_of)
        if reader is None:
            parse = partial(TextReader, max_tokens=published.max_tokens, prefix=published.prefix)
            reader = self._parsing.submit(parse, tokenizer.read_bytes()).result()
            self._readers[made_of] = reader
        return reader

    def _engine(self, published: PublishedModel, graph: Path) -> Engine:
        shape = GraphShape(
            dimension=published.dimension,
            labels=len(published.labels),
            pad_token_id=published.pad_token_id,
        )
        engine = self._engines.open(graph, shape)
        # The longest text at once, so that a model which cannot compute it never serves.
        engine.run([[published.pad_token_id] * published.max_tokens], (Output.EMBEDDING,))
        # The first short ones take up to three quarters longer, until ONNX Runtime has found its
        # memory.
        short = [[published.pad_token_id] * min(_SHORT_TOKENS, published.max_tokens)]
        for _ in range(_SHORT_RUNS):
            engine.run(short, (Output.EMBEDDING,))
        return engine

    def _graph(self, published: PublishedModel, precision: Precision) -> Artifact:
        if precision is Precision.EXACT and self._engines.prefer_half and published.half:
            return published.half
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

    def _model(
        self,
        published: PublishedModel,
        precision: Precision,
        reader: TextReader,
        engine: Engine,
    ) -> Model:
        return Model(
            name=published.name,
            precision=precision,
            digest=self._graph(published, precision).sha256,
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
            typed_readers={
                kind: reader.with_prefix(prefix)
                for kind, prefix in published.typed_prefixes.items()
            },
            neighbours=self._neighbours.of(published) if precision is Precision.EXACT else None,
        )


def _beside(published: PublishedModel, precision: Precision) -> int:
    """Return the bytes that a model takes beside its graph."""
    # Of each model, though some share one: it stays until the last of them goes.
    reader = published.tokenizer.size * _TOKENIZER_GROWTH
    # From the beginning on, though they are read when somebody asks: a question must not push
    # another model out.
    kept = published.neighbours if precision is Precision.EXACT else None
    return reader + (0 if kept is None else kept.memory)
