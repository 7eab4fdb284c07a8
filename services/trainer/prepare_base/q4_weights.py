"""The tensors of a BERT encoder out of a file of 4-bit blocks (magic `E5S1`).

The file: sizes, a tokenizer (passed over), and a directory of tensors. Tables and matrices are
rows of blocks, each of 32 numbers: a half float, and 16 bytes that hold number i in their low
and number i + 16 in their high four bits, 8 meaning 0. Vectors are plain floats.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.trainer.base_sources import SourceError
from services.trainer.prepare_base.bert import Tensors

_MAGIC = b"E5S1"
_BLOCK = 32
_BLOCK_BYTES = 2 + _BLOCK // 2
_ZERO = 8

_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_KINDS = {"w": "weight", "b": "bias"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str
    count: int
    """Numbers of the tensor."""

    offset: int
    """Where it begins in the file."""


def read_q4(path: Path) -> Tensors:
    """Return the tensors by the names of `transformers.BertModel`, in float32.

    Raises:
        SourceError: Where the file is none of this form.
    """
    content = path.read_bytes()
    if content[: len(_MAGIC)] != _MAGIC:
        raise SourceError(f"{path.name} is no file of 4-bit blocks.")
    try:
        hidden, _, _, intermediate = struct.unpack_from("<4i", content, 8)
        return {
            _name(entry.name): _tensor(content, entry, hidden, intermediate)
            for entry in _directory(content)
        }
    except (struct.error, ValueError, KeyError) as error:
        raise SourceError(f"{path.name} is damaged, or of a newer form: {error!r}") from error


def _directory(content: bytes) -> list[_Entry]:
    # Eight sizes and a float behind magic and version.
    at = 8 + 9 * 4
    (pieces,) = struct.unpack_from("<i", content, at)
    at += 5 * 4
    (characters,) = struct.unpack_from("<Q", content, at)
    at += 8 + (pieces + 1) * 4 + pieces * 4 + characters
    (normalisation,) = struct.unpack_from("<I", content, at + 4)
    at += 8 + normalisation
    (entries,) = struct.unpack_from("<i", content, at)
    at += 4
    found = []
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", content, at)
        name = content[at + 2 : at + 2 + length].decode()
        at += 2 + length
        # Behind the kind of number, which its name tells as well.
        count, offset, _ = struct.unpack_from("<IQQ", content, at + 1)
        at += 1 + struct.calcsize("<IQQ")
        found.append(_Entry(name=name, count=count, offset=offset))
    return found


def _name(short: str) -> str:
    if short in _NAMES:
        return _NAMES[short]
    layer, part, kind = short.split(".")
    return f"encoder.layer.{int(layer.removeprefix('l'))}.{_LAYER_NAMES[part]}.{_KINDS[kind]}"


def _tensor(
    content: bytes, entry: _Entry, hidden: int, intermediate: int
) -> npt.NDArray[np.float32]:
    name = _name(entry.name)
    if name.endswith(("LayerNorm.weight", "bias")):
        return np.frombuffer(content, "<f4", entry.count, entry.offset).copy()
    width = (
        intermediate
        if name.endswith("output.dense.weight") and ".attention." not in name
        else hidden
    )
    if name.endswith(("position_embeddings.weight", "token_type_embeddings.weight")):
        return np.frombuffer(content, "<f4", entry.count, entry.offset).reshape(-1, width).copy()
    return _blocks(content, entry).reshape(-1, width)


def _blocks(content: bytes, entry: _Entry) -> npt.NDArray[np.float32]:
    number = entry.count // _BLOCK
    raw = np.frombuffer(content, np.uint8, number * _BLOCK_BYTES, entry.offset)
    blocks = raw.reshape(number, _BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)  # [blocks, 1]
    packed = blocks[:, 2:]
    levels = np.concatenate([packed & 0x0F, packed >> 4], axis=1).astype(np.float32)
    result: npt.NDArray[np.float32] = ((levels - _ZERO) * scales).reshape(-1)
    return result
