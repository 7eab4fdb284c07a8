"""A tiny model and the texts that its graphs are compared on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.trainer.base_import import BaseEncoder
from services.trainer.exporting.variants import Export, Probes, export_trained
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.recipe import Hyperparameters
from services.trainer.training import TrainedModel, train
from tests.unit.trainer.exporting.stand_ins import Deaf, twice_as_fast


@pytest.fixture(scope="session")
def model(base: BaseEncoder, learnt_from: LabelledTexts) -> TrainedModel:
    trained = train(
        base=base,
        labels=("bad", "good"),
        train=learnt_from,
        validation=None,
        positive_label=None,
        hyperparameters=Hyperparameters(epochs=1, batch_size=16),
        listener=Deaf(),
        should_stop=lambda: False,
        threads=1,
    )
    return replace(trained, temperature=2.5)


@pytest.fixture(scope="session")
def exported(
    model: TrainedModel, learnt_from: LabelledTexts, tmp_path_factory: pytest.TempPathFactory
) -> Export:
    truth = np.array(learnt_from.label_ids)[:, None] == np.arange(2)
    return export_trained(
        model,
        tmp_path_factory.mktemp("graphs"),
        probes=Probes(texts=learnt_from.texts, truth=truth),
        quantise=True,
        halve=True,
        stopwatch=twice_as_fast,
    )
