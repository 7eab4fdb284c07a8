from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    XLMRobertaConfig,
)

from services.trainer.base_import import Pooling
from services.trainer.encoder import SentenceEncoder
from services.trainer.learning.frozen import FrozenLayers, KeptStates, keep_states
from services.trainer.tokenize import TokenIds

_LAYERS = 3
_ROW: dict[str, Any] = {"vocab_size": 50, "max_position_embeddings": 40, "pad_token_id": 0}
_WIDE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
_FAMILIES: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**_ROW, **_WIDE),
    "mpnet": MPNetConfig(**_ROW, **_WIDE),
    "xlm-roberta": XLMRobertaConfig(**_ROW, **_WIDE),
    "distilbert": DistilBertConfig(**_ROW, dim=16, n_layers=_LAYERS, n_heads=2, hidden_dim=32),
    "electra": ElectraConfig(**_ROW, **_WIDE, embedding_size=8),
    "modernbert": ModernBertConfig(**_ROW, **_WIDE, local_attention=4),
}


def _encoder(family: str) -> SentenceEncoder:
    torch.manual_seed(0)
    backbone = AutoModel.from_config(_FAMILIES[family])  # type: ignore[no-untyped-call] # not ours
    return SentenceEncoder(backbone, Pooling.MEAN).eval()


def _tokens() -> TokenIds:
    random = np.random.default_rng(0)
    offsets = np.array([0, 9, 14, 34])
    return TokenIds(ids=random.integers(5, 50, 34).astype(np.int32), offsets=offsets)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("family", _FAMILIES)
def test_beginning_after_the_frozen_layers_is_beginning_at_the_text(
    family: str, count: int
) -> None:
    encoder = _encoder(family)
    frozen = FrozenLayers(encoder, count, layers=_LAYERS)
    ids = torch.randint(5, 50, (3, 12))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0

    with torch.no_grad():
        whole = encoder(ids, mask)
        states = frozen.states(ids, mask)
        with frozen.passed(states):
            upper = encoder(ids, mask)
        again = encoder(ids, mask)

    assert torch.allclose(upper, whole, atol=1e-6)
    assert torch.equal(again, whole)


@pytest.mark.parametrize("family", _FAMILIES)
def test_what_learns_is_what_lies_above(family: str) -> None:
    encoder = _encoder(family)

    frozen = FrozenLayers(encoder, 1, layers=_LAYERS)

    depths = dict(frozen.by_depth())
    assert {0, 1} <= set(depths) <= {0, 1, 2}
    assert all(tensor.requires_grad for tensors in depths.values() for tensor in tensors)


@pytest.mark.parametrize("family", _FAMILIES)
def test_nothing_that_learns_has_a_part_in_the_frozen_layers(family: str) -> None:
    encoder = _encoder(family)
    frozen = FrozenLayers(encoder, 1, layers=_LAYERS)
    ids = torch.randint(5, 50, (2, 12))
    before = frozen.states(ids, torch.ones_like(ids))

    with torch.no_grad():
        for _, tensors in frozen.by_depth():
            for tensor in tensors:
                tensor.add_(torch.randn_like(tensor))

    assert torch.equal(frozen.states(ids, torch.ones_like(ids)), before)


def test_states_that_would_fill_the_disk_are_computed_anew() -> None:
    tokens = _tokens()
    size = len(tokens.ids) * 16 * 2
    frozen = FrozenLayers(_encoder("bert"), 2, layers=_LAYERS)

    def kept(free: int) -> KeptStates | None:
        return keep_states(frozen, tokens, 0, 16, lambda: None, free_bytes=lambda: free)

    assert kept(2 * size - 1) is None
    assert kept(2 * size) is not None


def test_kept_states_are_those_of_each_text_alone() -> None:
    encoder = _encoder("bert")
    frozen = FrozenLayers(encoder, 2, layers=_LAYERS)
    tokens = _tokens()

    kept = keep_states(frozen, tokens, 0, 16, lambda: None)

    assert kept is not None
    batch = kept.batch(np.array([2, 0]), 20)
    for place, row in enumerate([2, 0]):
        ids = torch.from_numpy(tokens[row].astype(np.int64))[None]
        alone = frozen.states(ids, torch.ones_like(ids))[0]
        assert torch.allclose(batch[place, : len(alone)], alone, atol=5e-3)
        assert not batch[place, len(alone) :].any()
