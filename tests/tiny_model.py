"""A published model small enough for tests: word vectors, averaged, and a linear head.

Written as the trainer publishes a model, without torch: a graph of ten nodes, a WordPiece
tokenizer, and the manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from google.protobuf import json_format
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from isogloss.storage.v1.model_manifest_pb2 import ModelManifest, Neighbours
from isogloss.storage.v1.stored_file_pb2 import StoredFile
from isogloss.v1 import label_mode_pb2, precision_pb2
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.input_type_pb2 import InputType
from services.common import layout
from services.common.manifests import FORMAT_VERSION, create_manifest
from services.common.neighbours import NeighbourRows, write
from services.common.storage import ObjectStore
from tests.tiny_base import VOCABULARY

DIMENSION = 16
MAX_TOKENS = 16
QUANTISED = 1000
"""What is added to the seed for the weights of a quantised variant."""

LABELS = ("negative", "neutral", "positive")

_PAD = VOCABULARY.index("[PAD]")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def publish_tiny_model(
    store: ObjectStore,
    tenant: str,
    model_id: str,
    *,
    labels: Sequence[str] = LABELS,
    dimension: int = DIMENSION,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    cleaning: Cleaning | None = None,
    prefix: str = "",
    thresholds: Sequence[float] = (),
    quantised: bool = False,
    vector_range: float = 0.0,
    matryoshka_dimensions: Sequence[int] = (),
    typed_prefixes: Mapping[InputType.ValueType, str] | None = None,
    neighbours: Neighbours | None = None,
) -> ModelManifest:
    """Publish `models/{model_id}` of `tenant` and return its manifest.

    With thresholds a text can have several labels. The quantised variant has other weights, so
    that its answers are told from the exact one's.
    """
    prefix_of_keys = layout.attempt_prefix(tenant, model_id, 1, 1)
    manifest = _files(
        store,
        prefix_of_keys,
        graph=tiny_graph(labels=len(labels), dimension=dimension, seed=seed),
        max_tokens=max_tokens,
        dimension=dimension,
    )
    manifest.name = f"models/{model_id}"
    manifest.display_name = model_id
    manifest.attempt = manifest.token = 1
    manifest.labels.extend(labels)
    manifest.label_mode = (
        label_mode_pb2.LABEL_MODE_MULTI if thresholds else label_mode_pb2.LABEL_MODE_SINGLE
    )
    manifest.thresholds.extend(thresholds)
    manifest.input.prefix = prefix
    for kind, words in (typed_prefixes or {}).items():
        manifest.input.typed_prefixes.add(input_type=kind, prefix=words)
    manifest.vector_range = vector_range
    manifest.matryoshka_dimensions.extend(matryoshka_dimensions)
    if quantised:
        graph = tiny_graph(labels=len(labels), dimension=dimension, seed=seed + QUANTISED)
        variant = manifest.variants.add(precision=precision_pb2.PRECISION_QUANTIZED)
        variant.graph.CopyFrom(store_file(store, f"{prefix_of_keys}quantized.onnx", graph))
    if neighbours is not None:
        manifest.neighbours.CopyFrom(neighbours)
        manifest.lineage.dataset = "datasets/learnt"
    if cleaning is not None:
        manifest.input.cleaning.CopyFrom(cleaning)
    create_manifest(store, layout.model_manifest(tenant, model_id), manifest)
    return manifest


def publish_tiny_base(
    store: ObjectStore,
    base_id: str = "tiny",
    *,
    dimension: int = DIMENSION,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    graph: bytes | None = None,
) -> ModelManifest:
    """Publish `baseModels/{base_id}`, with another graph if wanted, and return its manifest."""
    manifest = _files(
        store,
        layout.base_model_prefix(base_id),
        graph=graph or tiny_graph(labels=0, dimension=dimension, seed=seed),
        max_tokens=max_tokens,
        dimension=dimension,
    )
    manifest.name = f"baseModels/{base_id}"
    manifest.display_name = base_id
    create_manifest(store, layout.base_model_manifest(base_id), manifest)
    return manifest


def store_neighbours(
    store: ObjectStore,
    tenant: str,
    model_id: str,
    rows: Sequence[tuple[str, Sequence[int]]],
    *,
    nearest: int = 1,
    held_out_cosines: Sequence[float] = (),
    seed: int = 0,
) -> Neighbours:
    """Store what a tiny model keeps of the rows that it learnt from.

    Args:
        store: Where to.
        tenant: Whose model.
        model_id: Which; its graph has the same seed.
        rows: The text of each, and the numbers of its labels. They are every second row of the
            split, from the second on.
        nearest: Which of the nearest counts.
        held_out_cosines: Of others.
        seed: Of the model.
    """
    places = [2 * row + 1 for row in range(len(rows))]
    vectors = np.stack([tiny_embedding(text, seed=seed) for text, _ in rows])
    content = write(
        NeighbourRows(
            vectors=vectors.astype(np.float16),
            rows=np.array(places, np.int64),
            label_ids=np.array([label for _, labels in rows for label in labels], np.int32),
            label_ends=np.cumsum([len(labels) for _, labels in rows], dtype=np.int32),
        )
    )
    texts = ExampleTexts(
        format_version=FORMAT_VERSION,
        train={place: text for place, (text, _) in zip(places, rows, strict=True)},
    )
    figures = layout.attempt_prefix(tenant, model_id, 1, 1)
    apart = layout.attempt_examples_prefix(tenant, model_id, 1, 1)
    said = json_format.MessageToJson(texts).encode()
    return Neighbours(
        vectors=store_file(store, f"{figures}neighbours.safetensors", content),
        texts=store_file(store, f"{apart}neighbours.json", said),
        rows=len(rows),
        nearest=nearest,
        held_out_cosines=held_out_cosines,
    )


def tiny_embedding(text: str, *, seed: int = 0) -> NDArray[np.float32]:
    """Return what a tiny model of that seed makes of a text that needs no cutting."""
    tokenizer = tiny_tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vectors = tiny_weights(labels=0, seed=seed)["vectors"][tokenizer.encode(text).ids]
    total = vectors.astype(np.float64).sum(axis=0)
    unit: NDArray[np.float32] = (total / np.linalg.norm(total)).astype(np.float32)
    return unit


def tiny_tokenizer() -> Tokenizer:
    """Return a tokenizer that cuts and pads on its own account, as published ones do."""
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))  # noqa: S106 (no password: a token)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    return tokenizer


def tiny_weights(
    *, labels: int, dimension: int = DIMENSION, seed: int = 0
) -> Mapping[str, NDArray[np.float32]]:
    """Return `vectors` (vocabulary, dimension) and `head` (dimension, labels)."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(len(VOCABULARY), dimension)).astype(np.float32)
    # Padding that is not masked away would be seen in every vector.
    vectors[_PAD] = 100.0
    head = random.normal(0.0, 4.0, size=(dimension, labels)).astype(np.float32)
    return {"vectors": vectors, "head": head}


def tiny_graph(*, labels: int, dimension: int = DIMENSION, seed: int = 0) -> bytes:
    """Return the graph: mean of the word vectors under the mask, length 1, linear head.

    Args:
        labels: Width of `logits`; 0 for a graph without.
        dimension: Width of `sentence_embedding`.
        seed: Equal seeds give equal bytes.
    """
    weights = tiny_weights(labels=labels, dimension=dimension, seed=seed)
    nodes = [
        helper.make_node("Gather", ["vectors", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide_mask"]),
        helper.make_node("Mul", ["tokens", "wide_mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "second"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Div", ["sum", "length"], ["sentence_embedding"]),
    ]
    constants = [
        numpy_helper.from_array(weights["vectors"], "vectors"),
        numpy_helper.from_array(np.array([2]), "last"),
        numpy_helper.from_array(np.array([1]), "second"),
    ]
    outputs = [_tensor("sentence_embedding", TensorProto.FLOAT, dimension)]
    if labels:
        nodes.append(helper.make_node("MatMul", ["sentence_embedding", "head"], ["logits"]))
        constants.append(numpy_helper.from_array(weights["head"], "head"))
        outputs.append(_tensor("logits", TensorProto.FLOAT, labels))
    inputs = [_tensor(name, TensorProto.INT64, "L") for name in ("input_ids", "attention_mask")]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def store_file(store: ObjectStore, key: str, content: bytes) -> StoredFile:
    """Put a file and return how a manifest names it."""
    store.put(key, content)
    return StoredFile(key=key, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _files(
    store: ObjectStore, prefix: str, *, graph: bytes, max_tokens: int, dimension: int
) -> ModelManifest:
    manifest = ModelManifest(format_version=FORMAT_VERSION, dimension=dimension)
    tokenizer = tiny_tokenizer().to_str().encode()
    manifest.input.tokenizer.CopyFrom(store_file(store, f"{prefix}tokenizer.json", tokenizer))
    manifest.input.max_tokens = max_tokens
    manifest.input.pad_token_id = _PAD
    variant = manifest.variants.add(precision=precision_pb2.PRECISION_EXACT, min_cosine=1.0)
    variant.graph.CopyFrom(store_file(store, f"{prefix}model.onnx", graph))
    manifest.create_time.GetCurrentTime()
    return manifest


def _tensor(name: str, kind: int, width: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["B", width])
