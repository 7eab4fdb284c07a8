"""Opens what a bundle holds as a server would, in a process of its own.

    python -m services.trainer.registry.probe < SPEC

A graph or a tokenizer of a stranger may crash, hang or fill the memory of whoever opens it: that
is this process, which is thrown away. It answers with nothing where all is well, and with one
line and the status 1 where something is not.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.common.lifeline import end_with

SECONDS = 300
"""A large graph is opened in some seconds; on a busy machine in a minute."""

_SPARE_BYTES = 6 * 1024**3
_GROWTH = 8
"""Address space: ONNX Runtime maps some GB whatever the graph, and opens a graph in four times
its size."""

_MOST_PREDICTIONS_KILOBYTES = 1024 * 1024
"""What may be needed to read the predictions: the process that compares models does so too."""

_TEXT = "a text"
_REFUSED = 1
_LAST_WORDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """What is opened, and what it must be."""

    graphs: list[str]
    """Paths."""

    tokenizer: str
    """Path."""

    predictions: str
    """Path of the Parquet file; empty where there is none."""

    dimension: int
    labels: int
    max_tokens: int
    pad_token_id: int

    parent: int
    """Process id of the one that waits for the answer."""


class Refused(Exception):
    """What was opened is not what it must be; the message says why, as a clause."""


def probe(spec: ProbeSpec) -> None:
    """Open everything in a process of its own.

    Raises:
        Refused: Where anything cannot be opened or is not what it must be.
    """
    command = [sys.executable, "-m", "services.trainer.registry.probe"]
    try:
        done = subprocess.run(  # noqa: S603 (our own module, no shell)
            command,
            input=json.dumps(asdict(spec)),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"its graphs could not be opened within {SECONDS} seconds") from None
    if done.returncode == _REFUSED and done.stdout:
        raise Refused(done.stdout.strip()[:_LAST_WORDS])
    if done.returncode:
        raise Refused("its graphs or its tokenizer crash whoever opens them")


def main() -> None:
    """Open what standard input says."""
    spec = ProbeSpec(**json.loads(sys.stdin.read()))
    end_with(spec.parent)
    # Where the kernel tells of no death, this at least comes to an end.
    signal.alarm(SECONDS)
    try:
        _limit_memory(sum(Path(graph).stat().st_size for graph in spec.graphs))
        _open_tokenizer(spec)
        if spec.predictions:
            _open_predictions(spec.predictions)
        for graph in spec.graphs:
            _check_tensors(graph)
            _open_graph(graph, spec)
    except Refused as refused:
        sys.stdout.write(f"{refused}\n")
        raise SystemExit(_REFUSED) from None
    except Exception as error:  # noqa: BLE001 (whatever a library says of what a stranger sent)
        sys.stdout.write(f"it cannot be opened: {' '.join(str(error).split())}\n")
        raise SystemExit(_REFUSED) from None


def _limit_memory(graph_bytes: int) -> None:
    limit = _SPARE_BYTES + _GROWTH * graph_bytes
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or limit < most:
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _open_tokenizer(spec: ProbeSpec) -> None:
    # Imported here, like all below: this process is to be limited before it loads anything.
    from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(spec.tokenizer)
    tokenizer.no_truncation()
    if len(tokenizer.encode(_TEXT).ids) > spec.max_tokens:
        raise Refused(f"its tokenizer makes more than {spec.max_tokens} tokens of {_TEXT!r}")


def _open_predictions(path: str) -> None:
    from services.trainer.evaluation import predictions  # noqa: PLC0415

    try:
        predictions.read(Path(path).read_bytes())
    except predictions.Unreadable as error:
        raise Refused(f"its predictions {error}") from error
    # Few compressed bytes can be many, also in what was read and is not kept.
    most = _peak_kilobytes()
    if most > _MOST_PREDICTIONS_KILOBYTES:
        raise Refused(f"its predictions take {most // 1024} MB of memory")


def _peak_kilobytes() -> int:
    """Return what this process had in memory at most; 0 where the kernel does not tell.

    `getrusage` would tell the peak of the process that started this one, where that is larger.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1])


def _check_tensors(path: str) -> None:
    """See that the graph is whole: tensors elsewhere would be read from files of the server."""
    import onnx  # noqa: PLC0415

    model = onnx.load_model(path, load_external_data=False)
    for tensor in _tensors(model.graph, [function.node for function in model.functions]):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise Refused("a graph keeps its weights in other files")


def _tensors(graph: Any, functions: Sequence[Any]) -> Iterator[Any]:  # noqa: ANN401 (onnx has no types)
    """Yield all tensors of a graph, those in its branches and functions too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in [*graph.node, *(node for nodes in functions for node in nodes)]:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for branch in (attribute.g, *attribute.graphs):
                yield from _tensors(branch, [])


def _open_graph(path: str, spec: ProbeSpec) -> None:
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = {"sentence_embedding": spec.dimension, "logits": spec.labels}
    # The shortest text, and the longest beside it.
    for tokens in (1, spec.max_tokens):
        ids = np.full((2, tokens), spec.pad_token_id, np.int64)
        mask = np.ones_like(ids)
        rows = session.run(list(expected), {"input_ids": ids, "attention_mask": mask})
        for found, (output, width) in zip(rows, expected.items(), strict=True):
            if found.shape != (2, width) or found.dtype != np.float32:
                raise Refused(
                    f"its output {output} is {found.dtype} of shape {found.shape} for two texts, "
                    f"instead of float32 of shape {(2, width)}"
                )


if __name__ == "__main__":
    main()
