"""How much one tenant may upload and store: looked at where a dataset or a part is added.

Of several that are added at the same moment each sees the others only once they are there, so a
quota can be overrun by as much as is under way at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.common.errors import Reason, ResourceExhausted
from services.ingest.usage import usage_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What one tenant may have; 0 sets no limit."""

    max_uploads: int = 0
    """Datasets in UPLOADING."""

    max_stored_bytes: int = 0
    """Of all datasets, uploads in progress included."""

    def check_upload(self, session: Session, tenant: str) -> None:
        """Make sure that one more dataset may be uploaded to.

        Raises:
            ResourceExhausted: Where there are as many as may be.
        """
        if not self.max_uploads:
            return
        count = usage_of(session, tenant).upload_count
        if count >= self.max_uploads:
            raise ResourceExhausted(
                f"{count} datasets are being uploaded to, and {self.max_uploads} may be "
                "(max_uploads_per_tenant): finalise or delete some of them first.",
                reason=Reason.QUOTA_EXCEEDED,
                metadata={"upload_count": str(count), "limit": str(self.max_uploads)},
            )

    def check_bytes(self, session: Session, tenant: str, more: int) -> None:
        """Make sure that so many more bytes may be stored.

        Raises:
            ResourceExhausted: Where they are too many.
        """
        if not self.max_stored_bytes:
            return
        stored = usage_of(session, tenant).stored_bytes
        if stored + more > self.max_stored_bytes:
            raise ResourceExhausted(
                f"{stored} bytes are stored, {more} more are to come, and {self.max_stored_bytes} "
                "may be (max_stored_bytes_per_tenant): delete datasets that nobody needs.",
                reason=Reason.QUOTA_EXCEEDED,
                metadata={"stored_bytes": str(stored), "limit": str(self.max_stored_bytes)},
            )
