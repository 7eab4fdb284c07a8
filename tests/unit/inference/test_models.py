from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from services.common import layout
from services.common.errors import (
    DataLoss,
    FailedPrecondition,
    NotFound,
    Reason,
    ResourceExhausted,
    Unavailable,
)
from services.common.manifests import create_manifest
from services.common.names import Collection, ResourceName
from services.inference.engine import FloatArray, GraphShape, Output
from services.inference.engines.onnx import LocalEngines, OnnxEngine
from services.inference.library import Bounds, Library, open_library
from services.inference.model import Model, Precision
from services.inference.models import Models
from services.inference.residents import ModelKey
from tests.tiny_model import publish_tiny_base, publish_tiny_model, tiny_weights
from tests.unit.inference.libraries import library
from tests.unit.inference.watched_store import Clock, WatchedStore

WAIT = 30.0

TINY_BYTES = 104 * 1024
"""As a tiny model counts, and a bit more: 24 times its tokenizer, twice its graph."""


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    return WatchedStore(tmp_path / "store")


@pytest.fixture
def models(store: WatchedStore, tmp_path: Path, clock: Clock) -> Iterator[Models]:
    opened = library(store, tmp_path / "cache", clock=clock)
    yield opened.models
    opened.close()


@contextmanager
def library_in(
    store: WatchedStore, tmp_path: Path, clock: Callable[[], float] = time.monotonic
) -> Iterator[Library]:
    """A library that keeps its files where those before it did."""
    opened = library(store, tmp_path / "cache", clock=clock)
    yield opened
    opened.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def room_for(models: int, store: WatchedStore, tmp_path: Path) -> Iterator[Models]:
    """Models of which so many tiny ones have room in memory."""
    opened = library(store, tmp_path / "cache", memory=models * TINY_BYTES)
    yield opened.models
    opened.close()


def key(model: str, *, tenant: str = "acme", precision: Precision = Precision.EXACT) -> ModelKey:
    name = ResourceName(collection=Collection.MODELS, id=model)
    return ModelKey.of(tenant, name, precision)


def base_key(tenant: str = "acme") -> ModelKey:
    name = ResourceName(collection=Collection.BASE_MODELS, id="tiny")
    return ModelKey.of(tenant, name, Precision.EXACT)


def load(models: Models, wanted: ModelKey) -> Model:
    return models.request(wanted).result(WAIT)


def test_a_published_model_is_loaded_and_then_ready(models: Models, store: WatchedStore) -> None:
    manifest = publish_tiny_model(store, "acme", "tone")
    assert models.ready(key("tone")) is None

    model = load(models, key("tone"))

    assert (model.name, model.labels) == ("models/tone", tuple(manifest.labels))
    assert model.digest == manifest.variants[0].graph.sha256
    assert models.ready(key("tone")) is model


def test_all_who_ask_at_once_share_one_load(models: Models, store: WatchedStore) -> None:
    publish_tiny_model(store, "acme", "tone")

    with ThreadPoolExecutor(16) as executor:
        found = list(executor.map(lambda _: load(models, key("tone")), range(64)))

    assert len({id(model) for model in found}) == 1
    assert len([read for read in store.gets if read.endswith(".onnx")]) == 1


def test_a_tenant_does_not_see_anothers_model(models: Models, store: WatchedStore) -> None:
    publish_tiny_model(store, "acme", "tone")
    load(models, key("tone"))

    with pytest.raises(NotFound, match="isogloss models list"):
        load(models, key("tone", tenant="rival"))
    assert models.ready(key("tone", tenant="rival")) is None


def test_tenants_share_a_base(models: Models, store: WatchedStore) -> None:
    publish_tiny_base(store)

    assert load(models, base_key("acme")) is models.ready(base_key("rival"))


def test_a_missing_base_names_the_command_that_lists_them(models: Models) -> None:
    with pytest.raises(NotFound, match="isogloss models bases"):
        load(models, base_key())


def test_a_base_that_is_being_published_is_told_from_one_that_is_missing(
    models: Models, store: WatchedStore, tmp_path: Path
) -> None:
    store.put(layout.base_model_pending(base_key().name.id), b"{}")

    with pytest.raises(FailedPrecondition, match="being published") as caught:
        load(models, base_key())
    assert caught.value.reason is Reason.MODEL_NOT_READY
    assert caught.value.retry_after

    left = tmp_path / "store" / layout.base_model_pending(base_key().name.id)
    os.utime(left, (0, 0))  # a crash of long ago
    with pytest.raises(NotFound):
        load(models, base_key())


def test_a_model_that_still_trains_is_told_from_one_that_is_missing(
    models: Models, store: WatchedStore
) -> None:
    store.put(layout.model_pending("acme", "tone"), b"{}")

    with pytest.raises(FailedPrecondition, match="isogloss models show models/tone") as caught:
        load(models, key("tone"))
    assert caught.value.reason is Reason.MODEL_NOT_READY

    publish_tiny_model(store, "acme", "tone")
    assert load(models, key("tone")).name == "models/tone"


def test_a_precision_that_was_not_published_is_refused(models: Models, store: WatchedStore) -> None:
    publish_tiny_model(store, "acme", "tone")

    with pytest.raises(FailedPrecondition, match="it has: EXACT") as caught:
        load(models, key("tone", precision=Precision.QUANTIZED))
    assert caught.value.reason is Reason.PRECISION_UNAVAILABLE


def test_thresholds_that_are_not_one_a_label_are_refused(
    models: Models, store: WatchedStore
) -> None:
    publish_tiny_model(store, "acme", "tone", thresholds=(0.5, 0.5))

    with pytest.raises(DataLoss, match="has 3 labels and 2 thresholds"):
        load(models, key("tone"))


def test_a_deleted_model_is_gone_after_a_look(
    models: Models, store: WatchedStore, clock: Clock
) -> None:
    publish_tiny_model(store, "acme", "tone")
    load(models, key("tone"))
    store.delete(layout.model_manifest("acme", "tone"))
    assert models.ready(key("tone")) is not None

    clock.now += 11

    assert models.ready(key("tone")) is None
    with pytest.raises(NotFound):
        load(models, key("tone"))


def test_a_model_is_looked_for_while_it_is_served(
    models: Models, store: WatchedStore, clock: Clock
) -> None:
    publish_tiny_model(store, "acme", "tone")
    load(models, key("tone"))
    store.delete(layout.model_manifest("acme", "tone"))
    clock.now += 3

    assert models.ready(key("tone")) is not None
    with pytest.raises(NotFound):
        load(models, key("tone"))

    assert models.ready(key("tone")) is None


def test_a_base_that_was_published_anew_is_loaded_anew(models: Models, store: WatchedStore) -> None:
    publish_tiny_base(store)
    before = load(models, base_key())
    store.delete(layout.base_model_manifest("tiny"))
    publish_tiny_base(store, seed=1)

    assert load(models, base_key()).digest != before.digest


def test_models_in_memory_outlive_the_store(
    models: Models, store: WatchedStore, clock: Clock
) -> None:
    publish_tiny_model(store, "acme", "tone")
    model = load(models, key("tone"))
    store.down = True
    clock.now += 11

    assert load(models, key("tone")) is model
    with pytest.raises(Unavailable):
        load(models, key("other"))


def test_a_damaged_graph_is_refused_and_tried_again_later(
    models: Models, store: WatchedStore, clock: Clock
) -> None:
    graph = publish_tiny_model(store, "acme", "tone").variants[0].graph.key
    whole = b"".join(store.get(graph))
    store.put(graph, whole[:-1] + b"\xff")

    with pytest.raises(DataLoss):
        load(models, key("tone"))
    store.put(graph, whole)
    store.gets.clear()
    with pytest.raises(DataLoss):
        load(models, key("tone"))
    assert store.gets == []

    clock.now += 11
    assert load(models, key("tone")).name == "models/tone"


def test_a_damaged_model_harms_no_other(models: Models, store: WatchedStore) -> None:
    publish_tiny_model(store, "acme", "tone")
    tokenizer = publish_tiny_model(store, "acme", "broken").input.tokenizer.key
    store.put(tokenizer, b"{}")

    with pytest.raises(DataLoss):
        load(models, key("broken"))

    assert load(models, key("tone")).name == "models/tone"


def test_a_manifest_that_lies_about_its_graph_is_refused(
    models: Models, store: WatchedStore
) -> None:
    manifest = publish_tiny_model(store, "acme", "tone", labels=["a", "b"])
    store.delete(layout.model_manifest("acme", "tone"))
    other = publish_tiny_model(store, "acme", "other", labels=["a", "b", "c"])
    manifest.variants[0].graph.CopyFrom(other.variants[0].graph)
    create_manifest(store, layout.model_manifest("acme", "tone"), manifest)

    with pytest.raises(DataLoss, match="models/tone cannot be served"):
        load(models, key("tone"))


def test_memory_is_bounded_and_the_model_used_longest_ago_goes(
    store: WatchedStore, tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "two", "three")):
        publish_tiny_model(store, "acme", name, seed=seed)

    with room_for(2, store, tmp_path) as models:
        load(models, key("one"))
        load(models, key("two"))
        assert models.ready(key("one")) is not None
        three = load(models, key("three"))

        assert models.ready(key("two")) is None
        assert models.ready(key("one")) is not None
        assert models.ready(key("three")) is three


def test_pinned_models_go_last(store: WatchedStore, tmp_path: Path) -> None:
    names = ("one", "two", "three", "four")
    for seed, name in enumerate(names):
        publish_tiny_model(store, "acme", name, seed=seed)

    with room_for(2, store, tmp_path) as models:
        load(models, key("one"))
        load(models, key("two"))
        models.pin(frozenset({key("one")}))
        load(models, key("three"))
        assert [name for name in names if models.holds(key(name))] == ["one", "three"]

        models.pin(frozenset({key("one"), key("three")}))
        load(models, key("four"))
        assert [name for name in names if models.holds(key(name))] == ["three", "four"]


def test_a_dropped_model_still_computes_for_those_who_hold_it(
    store: WatchedStore, tmp_path: Path
) -> None:
    publish_tiny_model(store, "acme", "one")
    publish_tiny_model(store, "acme", "two", seed=1)

    with room_for(1, store, tmp_path) as models:
        one = load(models, key("one"))
        load(models, key("two"))

        assert models.ready(key("one")) is None
        (rows,) = one.engine.run([[5, 6]], (Output.EMBEDDING,))
        assert rows.shape == (1, one.dimension)


def test_many_loads_at_once_keep_within_memory(store: WatchedStore, tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(12)]
    for seed, name in enumerate(names):
        publish_tiny_model(store, "acme", name, seed=seed)

    with room_for(2, store, tmp_path) as models, ThreadPoolExecutor(12) as executor:
        found = list(executor.map(lambda name: load(models, key(name)).name, names))

        assert found == [f"models/{name}" for name in names]
        assert len([name for name in names if models.ready(key(name))]) <= 2


def test_a_model_that_never_fits_is_refused(store: WatchedStore, tmp_path: Path) -> None:
    publish_tiny_model(store, "acme", "tone")

    with (
        room_for(0, store, tmp_path) as models,
        pytest.raises(ResourceExhausted, match="ISOGLOSS_INFERENCE_MODEL_MEMORY_BYTES"),
    ):
        load(models, key("tone"))


def test_a_caller_who_leaves_does_not_end_the_load_for_others(
    models: Models, store: WatchedStore
) -> None:
    publish_tiny_model(store, "acme", "tone")
    flight = models.request(key("tone"))

    assert not flight.cancel()
    assert flight.result(WAIT).name == "models/tone"


def test_a_model_loads_from_the_disk_while_the_store_is_down(
    store: WatchedStore, tmp_path: Path
) -> None:
    publish_tiny_model(store, "acme", "tone")
    with library_in(store, tmp_path) as first:
        digest = load(first.models, key("tone")).digest
    store.down = True

    with library_in(store, tmp_path) as second:
        assert load(second.models, key("tone")).digest == digest
        with pytest.raises(Unavailable):
            load(second.models, key("other"))
        assert second.models.ready(key("tone")) is not None


def test_a_model_that_was_deleted_during_an_outage_goes_when_the_store_is_back(
    store: WatchedStore, tmp_path: Path, clock: Clock
) -> None:
    publish_tiny_model(store, "acme", "tone")
    with library_in(store, tmp_path, clock) as opened:
        load(opened.models, key("tone"))
        store.down = True
        clock.now += 60
        assert load(opened.models, key("tone")) is not None
        until(lambda: not opened.store.answers)
        # Without a look, though the last one is long ago.
        assert opened.models.ready(key("tone")) is not None

        store.down = False
        store.delete(layout.model_manifest("acme", "tone"))
        until(lambda: opened.store.answers)

        assert opened.models.ready(key("tone")) is None
        with pytest.raises(NotFound):
            load(opened.models, key("tone"))

    store.down = True
    with library_in(store, tmp_path) as later, pytest.raises(Unavailable):
        load(later.models, key("tone"))


def test_a_damaged_file_on_the_disk_is_not_served_while_the_store_is_down(
    store: WatchedStore, tmp_path: Path
) -> None:
    graph = publish_tiny_model(store, "acme", "tone").variants[0].graph
    with library_in(store, tmp_path) as first:
        load(first.models, key("tone"))
    store.down = True
    (tmp_path / "cache" / "files" / graph.sha256).write_bytes(b"x" * graph.size)

    with library_in(store, tmp_path) as second, pytest.raises(Unavailable):
        load(second.models, key("tone"))


def test_models_that_load_slowly_keep_no_other_from_being_seen(
    models: Models, store: WatchedStore, clock: Clock
) -> None:
    publish_tiny_model(store, "acme", "tone")
    load(models, key("tone"))
    go_on = threading.Event()
    slow = [f"slow{number}" for number in range(20)]
    for seed, name in enumerate(slow, start=1):
        publish_tiny_model(store, "acme", name, seed=seed)
    store.slow = go_on
    flights = [models.request(key(name)) for name in slow]
    # Looks that are under way when the clock jumps would count as a store that is silent.
    until(lambda: len([read for read in store.gets if read.endswith("/model.json")]) > len(slow))
    clock.now += 11

    assert load(models, key("tone")) is models.ready(key("tone"))
    assert not any(flight.done() for flight in flights)
    go_on.set()
    assert [flight.result(WAIT).name for flight in flights] == [f"models/{name}" for name in slow]


def test_hundreds_of_models_share_room_for_ten(store: WatchedStore, tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(200)]
    with ThreadPoolExecutor(16) as executor:  # each file is written to the disk
        list(
            executor.map(
                lambda seed: publish_tiny_model(store, "acme", names[seed], seed=seed),
                range(len(names)),
            )
        )
    asked = [*names[::4], *names[:20], *names[100:120], *names[::8], *names[10:15] * 3]

    with room_for(10, store, tmp_path) as models, ThreadPoolExecutor(8) as executor:

        def answer(name: str) -> FloatArray:
            model = models.ready(key(name)) or load(models, key(name))
            assert models.stats().size <= 10 * TINY_BYTES
            (rows,) = model.engine.run([[5, 6]], (Output.EMBEDDING,))
            vector: FloatArray = rows[0]
            return vector

        for name, vector in zip(asked, executor.map(answer, asked), strict=True):
            total = tiny_weights(labels=0, seed=names.index(name))["vectors"][[5, 6]].sum(axis=0)
            np.testing.assert_allclose(vector, total / np.linalg.norm(total), atol=1e-5)
        stats = models.stats()

    assert len(stats.residents) == 10
    assert stats.evictions == stats.loads - 10
    assert stats.hits + stats.misses == len(asked)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
@pytest.mark.parametrize("step_back", [False, True])
def test_models_are_opened_behind_those_who_are_served_where_engines_allow(
    store: WatchedStore, tmp_path: Path, *, step_back: bool
) -> None:
    class Watched(LocalEngines):
        def open(self, path: Path, shape: GraphShape) -> OnnxEngine:
            opened_at.append(niceness())
            return super().open(path, shape)

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    opened_at: list[int] = []
    publish_tiny_model(store, "acme", "tone")
    opened = open_library(
        lambda: store,
        Watched(threads=1),
        tmp_path / "cache",
        Bounds(disk=10**8, memory=10**9),
        step_back=step_back,
    )

    load(opened.models, key("tone"))
    opened.close()

    assert opened_at == [min(19, niceness() + 10) if step_back else niceness()]


def test_models_of_one_base_share_what_reads_texts(models: Models, store: WatchedStore) -> None:
    publish_tiny_model(store, "acme", "one")
    publish_tiny_model(store, "acme", "two", seed=1)
    publish_tiny_model(store, "acme", "longer", max_tokens=32)

    one, two, longer = (load(models, key(name)) for name in ("one", "two", "longer"))

    assert one.reader is two.reader
    assert longer.reader is not one.reader


def test_what_there_is_to_tell(models: Models, store: WatchedStore, clock: Clock) -> None:
    publish_tiny_base(store)
    publish_tiny_model(store, "acme", "tone")
    load(models, base_key())
    clock.now += 1
    tone = load(models, key("tone"))
    models.pin(frozenset({key("tone")}))
    clock.now += 1
    assert models.ready(base_key()) is not None
    clock.now += 0.5
    with pytest.raises(NotFound):
        load(models, key("none"))

    stats = models.stats()

    told = {str(resident.key.name): resident for resident in stats.residents}
    assert list(told) == ["models/tone", "baseModels/tiny"]
    assert told["models/tone"].digest == tone.digest
    assert (told["models/tone"].pinned, told["baseModels/tiny"].pinned) == (True, False)
    assert told["baseModels/tiny"].resident_seconds == 2.5
    assert told["baseModels/tiny"].idle_seconds == 0.5
    assert told["baseModels/tiny"].calls == 1
    assert told["models/tone"].key.tenant == "acme"
    assert stats.size == sum(resident.size for resident in stats.residents)
    assert 0 < stats.size < stats.max_size
    assert (stats.hits, stats.misses, stats.loads) == (1, 3, 2)
    assert (stats.evictions, stats.failures, stats.loading) == (0, 0, 0)
    assert stats.outage_seconds is None
