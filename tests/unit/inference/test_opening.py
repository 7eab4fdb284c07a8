from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from isogloss.storage.v1.stored_file_pb2 import StoredFile
from services.common import layout
from services.common.errors import ResourceExhausted
from services.common.manifests import create_manifest
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectStore, open_store
from services.inference.engine import Engine, GraphShape
from services.inference.engines.onnx import LocalEngines
from services.inference.library import Bounds, open_library
from services.inference.model import Model, Precision
from services.inference.residents import ModelKey
from tests.tiny_model import publish_tiny_model, store_file, tiny_graph

WAIT = 30.0


@dataclass
class Gpu:
    """Engines that compute as a CPU does and prefer what a GPU prefers."""

    prefer_half: bool
    alive: bool = True
    copies: float = 1.0
    local: LocalEngines = field(default_factory=lambda: LocalEngines(threads=1))

    def open(self, path: Path, shape: GraphShape) -> Engine:
        return self.local.open(path, shape)

    def close(self) -> None: ...


class OnAFullDisk(Gpu):
    """Engines that have no room for files of their own."""

    def open(self, path: Path, shape: GraphShape) -> Engine:  # noqa: ARG002 (the Protocol's)
        raise OSError(errno.ENOSPC, "No space left on device")


def publish_halved(store: ObjectStore) -> tuple[StoredFile, StoredFile]:
    manifest = publish_tiny_model(store, "acme", "tone", quantised=True)
    key = layout.model_manifest("acme", "tone")
    store.delete(key)
    half = store_file(store, "half.onnx", tiny_graph(labels=3, seed=5))
    manifest.variants[0].half_graph.CopyFrom(half)
    create_manifest(store, key, manifest)
    return manifest.variants[0].graph, half


def opened(store: ObjectStore, directory: Path, engines: Gpu, precision: Precision) -> Model:
    bounds = Bounds(disk=10**8, memory=10**9)
    library = open_library(lambda: store, engines, directory, bounds)
    name = ResourceName(collection=Collection.MODELS, id="tone")
    try:
        return library.models.request(ModelKey.of("acme", name, precision)).result(WAIT)
    finally:
        library.close()


def test_a_gpu_serves_exact_in_16_bits_under_that_digest(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    exact, half = publish_halved(store)

    on_gpu = opened(store, tmp_path / "cache", Gpu(prefer_half=True), Precision.EXACT)
    on_cpu = opened(store, tmp_path / "cache", Gpu(prefer_half=False), Precision.EXACT)

    assert (on_gpu.digest, on_cpu.digest) == (half.sha256, exact.sha256)


def test_a_gpu_serves_quantised_as_it_is(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    _, half = publish_halved(store)

    model = opened(store, tmp_path / "cache", Gpu(prefer_half=True), Precision.QUANTIZED)

    assert model.digest != half.sha256


def test_a_gpu_serves_what_has_no_16_bits(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    manifest = publish_tiny_model(store, "acme", "tone")

    model = opened(store, tmp_path / "cache", Gpu(prefer_half=True), Precision.EXACT)

    assert model.digest == manifest.variants[0].graph.sha256


def test_engines_without_room_on_the_disk_say_so(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    publish_tiny_model(store, "acme", "tone")

    with pytest.raises(ResourceExhausted, match="has no room for a file"):
        opened(store, tmp_path / "cache", OnAFullDisk(prefer_half=False), Precision.EXACT)
