"""How far an upload is, added up over its files, for who wants to be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isogloss.api.sources import Source
from isogloss.datasets import Dataset, DatasetState, UploadProgress

Progress = Callable[[UploadProgress], None]


class Reporter:
    """Adds up what is sent of several files, and passes validation on."""

    def __init__(self, dataset: str, sources: Sequence[Source], progress: Progress | None) -> None:
        """Take whom to tell; None tells nobody."""
        self._dataset = dataset
        self._progress = progress
        self._sent = dict.fromkeys([source.split for source in sources], 0)
        self._total = sum(source.size for source in sources)

    def sent(self, source: Source, count: int) -> None:
        """Take how many bytes of a file were sent."""
        self._sent[source.split] = count
        sent = sum(self._sent.values())
        self._tell(f"uploading {source.split}", sent, 0.0)
        if not self._dataset and sent == self._total:
            # A check says nothing more until it answers.
            self._tell("checking", sent, 0.0)

    def validating(self, dataset: Dataset) -> None:
        """Take how far validation is."""
        found = dataset.validation_progress
        over = final(dataset)
        done = 1.0 if over else (found.fraction if found else 0.0)
        phase = found.phase if found and not over else dataset.state.lower()
        self._tell(phase, self._total, done)

    def _tell(self, phase: str, sent: int, validated: float) -> None:
        if self._progress is not None:
            self._progress(
                UploadProgress(
                    dataset=self._dataset,
                    phase=phase,
                    sent_bytes=sent,
                    total_bytes=self._total,
                    validated=validated,
                )
            )


def final(dataset: Dataset) -> bool:
    """Tell whether nothing more will happen to a dataset by itself."""
    return dataset.state in {DatasetState.READY, DatasetState.FAILED}
