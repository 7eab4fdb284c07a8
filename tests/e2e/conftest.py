"""One running suite for the end-to-end tests, started the way a newcomer starts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.demo import TONE, Suite, suite
from isogloss import Client, Dataset, Hyperparameters, Model


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """Three servers on a directory and SQLite; no test here is about 8-bit variants."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ISOGLOSS_TRAINER_QUANTIZE", "never")
        with suite(tmp_path_factory.mktemp("suite") / "data") as running:
            yield running


@pytest.fixture(scope="session")
def client(servers: Suite) -> Iterator[Client]:
    with servers.client() as connected:
        yield connected


@pytest.fixture(scope="session")
def dataset(client: Client) -> Dataset:
    """The example messages, validated."""
    return client.datasets.upload("tone", train=TONE / "train.csv", test=TONE / "test.csv")


@pytest.fixture(scope="session")
def model(client: Client, dataset: Dataset) -> Model:
    """The real base model, briefly fine-tuned on them."""
    created = client.models.create(
        "tone", dataset=dataset, hyperparameters=Hyperparameters(epochs=1)
    )
    return client.models.wait(created)
