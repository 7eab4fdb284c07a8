from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from services.trainer.base_sources import SourceError
from services.trainer.prepare_base.q4_weights import read_q4

_HIDDEN, _INTERMEDIATE = 32, 64


def _blocks(matrix: np.ndarray) -> bytes:
    """Pack numbers that are multiples of a half, from -4 to 3.5, exactly."""
    levels = (matrix.reshape(-1, 32) / 0.5 + 8).astype(np.uint8)
    scale = np.float16(0.5).tobytes()
    return b"".join(scale + (row[:16] | row[16:] << 4).tobytes() for row in levels)


def _file(path: Path, tensors: dict[str, np.ndarray], packed: set[str]) -> Path:
    pieces = [b"ab", b"c"]
    tokenizer = (
        struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, 3)
        + struct.pack("<3I", 0, 2, 3)
        + struct.pack("<2f", -1.0, -2.0)
        + b"".join(pieces)
        + struct.pack("<iI", 0, 0)
    )
    sizes = struct.pack("<7ifi", _HIDDEN, 1, 2, _INTERMEDIATE, 4, 8, 2, 1e-12, 32)
    head = b"E5S1" + struct.pack("<I", 1) + sizes + tokenizer
    entries = sum(2 + len(name) + 1 + 20 for name in tensors)
    at = len(head) + 4 + entries
    directory, body = struct.pack("<i", len(tensors)), b""
    for name, array in tensors.items():
        content = _blocks(array) if name in packed else array.astype("<f4").tobytes()
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", name in packed, array.size, at + len(body), len(content))
        body += content
    path.write_bytes(head + directory + body)
    return path


def test_blocks_become_the_numbers_that_they_stand_for(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def halves(*shape: int) -> np.ndarray:
        return random.integers(-8, 8, shape).astype(np.float32) / 2

    tensors = {
        "emb.word": halves(4, _HIDDEN),
        "emb.pos": random.normal(size=(8, _HIDDEN)).astype(np.float32),
        "emb.ln.w": random.normal(size=_HIDDEN).astype(np.float32),
        "l0.fi.w": halves(_INTERMEDIATE, _HIDDEN),
        "l0.fo.w": halves(_HIDDEN, _INTERMEDIATE),
        "l0.ao.w": halves(_HIDDEN, _HIDDEN),
        "l0.q.b": random.normal(size=_HIDDEN).astype(np.float32),
    }
    packed = {"emb.word", "l0.fi.w", "l0.fo.w", "l0.ao.w"}

    found = read_q4(_file(tmp_path / "q4.bin", tensors, packed))

    names = {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.pos": "embeddings.position_embeddings.weight",
        "emb.ln.w": "embeddings.LayerNorm.weight",
        "l0.fi.w": "encoder.layer.0.intermediate.dense.weight",
        "l0.fo.w": "encoder.layer.0.output.dense.weight",
        "l0.ao.w": "encoder.layer.0.attention.output.dense.weight",
        "l0.q.b": "encoder.layer.0.attention.self.query.bias",
    }
    assert found.keys() == set(names.values())
    for short, name in names.items():
        np.testing.assert_array_equal(found[name], tensors[short])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"SAE1" + bytes(60), "no file of 4-bit blocks"), (b"E5S1" + bytes(20), "damaged")],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "q4.bin"
    path.write_bytes(content)

    with pytest.raises(SourceError, match=message):
        read_q4(path)
