"""How much may be uploaded, and how. Must not know where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.common.errors import Reason, ResourceExhausted
from services.ingest.dataset import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """How much may be uploaded, and in which pieces it is stored."""

    max_file_bytes: int = 5 << 30
    max_dataset_bytes: int = 5 << 30
    """All files of one dataset together."""

    part_bytes: int = 8 << 20
    """Bytes of one stored part; one upload holds about four times this in memory."""

    patience_seconds: float = 5.0
    """How long a part that was sent but for its end waits for its turn. What takes longer does not
    hold the store's connection, and perhaps its lock on the key, meanwhile: it is sent again."""

    def check(self, sizes: Mapping[Split, int]) -> None:
        """Make sure that a dataset may have files of these sizes.

        Raises:
            ResourceExhausted: Where one of them, or all together, are too large.
        """
        for what, size, limit, setting in (
            *(
                (f"{split} file", size, self.max_file_bytes, "max_file_bytes")
                for split, size in sizes.items()
            ),
            ("dataset", sum(sizes.values()), self.max_dataset_bytes, "max_dataset_bytes"),
        ):
            if size > limit:
                raise ResourceExhausted(
                    f"The {what} is larger than {limit} bytes ({setting}). Upload fewer rows.",
                    reason=Reason.LIMIT_EXCEEDED,
                    metadata={"limit": str(limit), "setting": setting},
                )
