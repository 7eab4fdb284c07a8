"""What an evaluation's process is told: one JSON object on the first line of its input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from services.common.storage import StoreOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """One attempt at one evaluation. Never written to a disk: it holds the store's credentials."""

    tenant: str
    model: str
    """Bare id, like `evaluation` and `dataset`."""

    evaluation: str
    dataset: str
    dataset_content_hash: str
    split: str
    """`train`, `validation` or `test`."""

    figures: str
    """Start of the keys of what holds no text."""

    texts: str
    """Start of the key of what does."""

    store_url: str
    store_options: StoreOptions
    scratch: str
    threads: int
    niceness: int
    parent: int
    """Process id of the one that waits for it."""

    def to_json(self) -> str:
        """Return it on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> EvaluationSpec:
        """Read it back."""
        fields = json.loads(text)
        fields["store_options"] = StoreOptions(**fields["store_options"])
        return cls(**fields)
