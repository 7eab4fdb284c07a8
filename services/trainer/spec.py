"""What a run's process is told on its standard input: one JSON object, and later maybe `HALT`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from services.common.storage import StoreOptions

HALT = "halt"
"""The line that asks a run to leave a checkpoint and stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The part of a Ray cluster that a run takes."""

    address: str
    """`HOST:PORT` of its head."""

    workers: int
    resources: dict[str, float]
    """Of each worker: `CPU`, `GPU` and what the operator named."""

    @property
    def device(self) -> str:
        """Where each worker computes."""
        return "cuda" if self.resources.get("GPU") else "cpu"

    @property
    def threads(self) -> int:
        """The CPU threads of each worker."""
        return max(1, int(self.resources.get("CPU", 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One attempt at one model. Never written to a disk: it holds the store's credentials."""

    tenant: str
    model: str
    """Bare id, like `dataset`."""

    display_name: str
    base_model: str
    """What it starts from, as `starts` keeps it."""

    base_source: str
    """Where the base comes from should the store lack it; empty: nowhere."""

    dataset: str
    dataset_content_hash: str
    hyperparameters: dict[str, Any]
    """What was asked for; absent is open."""

    positive_label: str
    attempt: int
    token: int
    prefix: str
    """Where the attempt writes in the store."""

    start_time: datetime
    store_url: str
    store_options: StoreOptions
    scratch: str
    """An empty directory, removed by the supervisor."""

    device: str
    """`auto`, `cpu`, `cuda` or `cuda:N`."""

    threads: int
    checkpoint_seconds: float
    niceness: int
    quantise: bool
    """Whether an 8-bit variant is looked for."""

    parent: int
    """Process id of the supervisor."""

    cluster: Cluster | None
    """Where it learns; None: in the process that reads this."""

    def to_json(self) -> str:
        """Return it on one line."""
        return json.dumps({**asdict(self), "start_time": self.start_time.isoformat()})

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """Read it back."""
        fields = json.loads(text)
        fields["start_time"] = datetime.fromisoformat(fields["start_time"])
        fields["store_options"] = StoreOptions(**fields["store_options"])
        if fields["cluster"] is not None:
            fields["cluster"] = Cluster(**fields["cluster"])
        return cls(**fields)
