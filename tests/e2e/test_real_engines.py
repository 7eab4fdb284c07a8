"""The whole path on S3 and PostgreSQL, with API keys, and with a trainer that is killed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

from examples.demo import TONE
from isogloss import (
    Client,
    Hyperparameters,
    ModelState,
    NotFound,
    PermissionDenied,
    StepMetrics,
    Unauthenticated,
)
from tests.engines import PostgresServer, StoreServer, free_ports
from tests.processes import ServiceProcess
from tests.tiny_base import write_tiny_base

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

CALLERS = (("north", "write"), ("south", "write"), ("north", "read"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """Three processes on real engines, and the keys to them."""

    services: dict[str, ServiceProcess]
    base: str
    """The base model that is there: the real one on one store, a tiny one on the other."""

    epochs: int
    """Enough of that base's steps to be killed in the middle."""

    def client(self, tenant: str = "north", role: str = "write") -> Client:
        return self.anonymous(api_key=f"{tenant}-{role}")

    def anonymous(self, *, api_key: str = "") -> Client:
        addresses = {name: service.address for name, service in self.services.items()}
        return Client(
            ingest=addresses["ingest"],
            trainer=addresses["trainer"],
            inference=addresses["inference"],
            api_key=api_key,
        )


@pytest.fixture(scope="module", params=["minio", "seaweedfs"])
def production(
    request: pytest.FixtureRequest,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Production]:
    store: StoreServer = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    keys = folder / "keys.toml"
    keys.write_text("".join(entry(tenant, role) for tenant, role in CALLERS))
    shared = {
        "API_KEYS_FILE": str(keys),
        "STORE": store.url(f"production-{request.param}"),
        "STORE_ACCESS_KEY": store.access_key,
        "STORE_SECRET_KEY": store.secret_key,
    }
    tiny = str(write_tiny_base(folder / "tiny"))
    real = request.param == "minio"
    own: dict[str, dict[str, object]] = {
        "ingest": {"DATABASE": postgres.create_database()},
        "trainer": {
            "DATABASE": postgres.create_database(),
            "BASES": {} if real else {"small": "", "tiny": tiny},
            "LEASE_SECONDS": 6,
            "HEARTBEAT_SECONDS": 1,
            "QUANTIZE": "never",
        },
        "inference": {},
    }
    services = {
        name: ServiceProcess(
            name=name,
            address=f"127.0.0.1:{port}",
            log=folder / f"{name}.log",
            settings=shared | settings | {"DATA_DIRECTORY": str(folder / name)},
        )
        for (name, settings), port in zip(own.items(), free_ports(3), strict=True)
    }
    with contextlib.ExitStack() as running:
        for service in services.values():
            running.callback(service.stop)
            service.start()
        for service in services.values():
            service.wait_until_healthy()
        yield Production(
            services=services,
            base=f"baseModels/{'small' if real else 'tiny'}",
            epochs=2 if real else 20,
        )


def entry(tenant: str, role: str) -> str:
    digest = hashlib.sha256(f"{tenant}-{role}".encode()).hexdigest()
    return (
        f'[[keys]]\nsha256 = "{digest}"\ntenant = "{tenant}"\nrole = "{role}"\n'
        f'name = "{tenant}-{role}"\n'
    )


def test_a_killed_trainer_loses_no_model_and_tenants_stay_apart(production: Production) -> None:
    trainer = production.services["trainer"]
    with production.client() as north:
        dataset = north.datasets.upload("tone", train=TONE / "train.csv", test=TONE / "test.csv")
        model = north.models.create(
            "tone",
            dataset=dataset,
            base_model=production.base,
            hyperparameters=Hyperparameters(epochs=production.epochs),
        )
        for update in north.models.watch(model):
            if update.event and isinstance(update.event.detail, StepMetrics):
                break
        runs = psutil.Process(trainer.process.pid if trainer.process else 0).children()
        trainer.kill()
        gone, alive = psutil.wait_procs(runs, timeout=30)
        trainer.start()
        trainer.wait_until_healthy()
        ready = north.models.wait(model)

        assert gone
        assert not alive
        assert ready.state is ModelState.READY
        assert ready.attempt == 2
        texts = ["Charged twice again.", "Where is my parcel?"]
        vectors = np.asarray(north.embed(ready, texts))
        assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)
        assert {label.label for label in north.classify(ready, texts)[0].labels} == {
            "negative",
            "neutral",
            "positive",
        }
    with production.client("south") as south:
        assert list(south.datasets.list()) == []
        assert list(south.models.list()) == []
        for look in (
            lambda: south.datasets.get(dataset.name),
            lambda: south.models.get(ready.name),
            lambda: south.models.evaluation(ready.name),
            lambda: south.embed(ready.name, texts),
            lambda: south.models.create("x", dataset=dataset.name, base_model=production.base),
        ):
            with pytest.raises(NotFound):
                look()
    with production.client(role="read") as reader:
        assert [each.name for each in reader.models.list()] == [ready.name]
        with pytest.raises(PermissionDenied, match="write"):
            reader.models.delete(ready.name)
    for stranger, word in (("", "API key is needed"), ("guessed", "not known")):
        with (
            production.anonymous(api_key=stranger) as nobody,
            pytest.raises(Unauthenticated, match=word),
        ):
            nobody.embed(ready.name, texts)
