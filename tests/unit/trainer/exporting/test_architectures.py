"""Every family of encoders that is claimed: read, trained for a step, exported, the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    XLMRobertaConfig,
)

from services.trainer.base_import import read_base
from services.trainer.exporting.variants import Form, Probes, export_trained
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.recipe import Hyperparameters
from services.trainer.training import train
from tests.tiny_base import HEADS, HIDDEN, INTERMEDIATE, VOCABULARY, write_tiny_base
from tests.unit.trainer.exporting.stand_ins import Deaf, twice_as_fast

_LONG = "the order was late again " * 11

_ROW: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "max_position_embeddings": 80,
    "pad_token_id": 0,
}
_WIDE: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": INTERMEDIATE,
}
_FAMILIES = {
    "mpnet": MPNetConfig(**_ROW, **_WIDE),
    "xlm-roberta": XLMRobertaConfig(**_ROW, **_WIDE, type_vocab_size=1),
    "distilbert": DistilBertConfig(
        **_ROW, dim=HIDDEN, n_layers=2, n_heads=HEADS, hidden_dim=INTERMEDIATE
    ),
    "modernbert": ModernBertConfig(
        **_ROW, **_WIDE, local_attention=16, layer_types=["full_attention", "sliding_attention"]
    ),
}


@pytest.mark.parametrize("family", _FAMILIES)
def test_a_family_is_trained_and_exported(
    family: str, learnt_from: LabelledTexts, tmp_path: Path
) -> None:
    base = read_base(_write(_FAMILIES[family], tmp_path / "base"))
    graphs = tmp_path / "graphs"
    graphs.mkdir()

    model = train(
        base=base,
        labels=("bad", "good"),
        train=learnt_from,
        validation=None,
        positive_label=None,
        hyperparameters=Hyperparameters(max_steps=1, batch_size=16),
        listener=Deaf(),
        should_stop=lambda: False,
        threads=1,
    )
    export = export_trained(
        model,
        graphs,
        probes=Probes(
            # One that is longer than what a layer with local attention sees at once.
            texts=[_LONG, *learnt_from.texts],
            truth=np.array([0, *learnt_from.label_ids])[:, None] == np.arange(2),
        ),
        quantise=True,
        stopwatch=twice_as_fast,
    )

    assert base.architecture == family
    before, after = model.baseline.embed(learnt_from.texts), model.embed(learnt_from.texts)
    assert np.abs(after - before).max() > 1e-4
    # The export itself refuses what is not the model's answer.
    assert [variant.form for variant in export.variants] == [Form.EXACT, Form.QUANTIZED]
    again = model.save_encoder(tmp_path / "again")
    assert read_base(tmp_path / "again").architecture == family
    assert "model.safetensors" in again


def _write(config: PretrainedConfig, directory: Path) -> Path:
    """Write an encoder with random weights beside the tiny base's tokenizer."""
    write_tiny_base(directory)
    torch.manual_seed(0)
    config.initializer_range = 0.3
    encoder = AutoModel.from_config(config)  # type: ignore[no-untyped-call] # types it not
    encoder.save_pretrained(directory)
    assert json.loads((directory / "config.json").read_text())["model_type"] == config.model_type
    return directory
