"""How the training rows that a model keeps lie in the store: vectors with the attempt, texts apart.

Texts are copies of a dataset's. They are kept under the model's `examples/`, so that a purge of the
dataset takes them and leaves the vectors.
"""

from __future__ import annotations

import numpy as np
from google.protobuf import json_format

from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from isogloss.storage.v1.model_manifest_pb2 import Neighbours
from services.common import manifests, neighbours
from services.common.neighbours import NeighbourRows
from services.common.storage import ObjectStore
from services.trainer.datasets import Rows
from services.trainer.evaluation.stored import TEXT_CHARACTERS
from services.trainer.learning.nearness import Neighbourhood


def upload(
    store: ObjectStore, *, vectors: str, texts: str, train: Rows, found: Neighbourhood
) -> Neighbours:
    """Store the rows, and say what was stored.

    Args:
        store: Where to.
        vectors: Start of the key of what holds no text.
        texts: Start of the key of what does.
        train: The training rows.
        found: Which of them are kept, and what the model makes of them.
    """
    known = found.known.tolist()
    labels = [
        (train.label_ids[row],) if train.label_sets is None else train.label_sets[row]
        for row in known
    ]
    content = neighbours.write(
        NeighbourRows(
            vectors=found.vectors.astype(np.float16),
            rows=found.known.astype(np.int64),
            label_ids=np.array([label for row in labels for label in row], np.int32),
            label_ends=np.cumsum([len(row) for row in labels], dtype=np.int32),
        )
    )
    shown = ExampleTexts(
        format_version=manifests.FORMAT_VERSION,
        train={row: train.texts[row][:TEXT_CHARACTERS] for row in known},
    )
    return Neighbours(
        vectors=manifests.upload_chunks(store, f"{vectors}neighbours.safetensors", [content]),
        texts=manifests.upload_chunks(store, f"{texts}neighbours.json", [_json(shown)]),
        rows=len(known),
        nearest=found.nearest,
        held_out_cosines=found.held_out_cosines.tolist(),
    )


def _json(texts: ExampleTexts) -> bytes:
    # Not as ASCII: escaped, texts in other scripts would have three times their size, and a bundle
    # with 5,000 of them be more than is read when it comes back.
    return json_format.MessageToJson(texts, indent=None, ensure_ascii=False).encode()
