"""Messages that are to be sent: written in the transaction that they tell of."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from services.trainer import starts
from services.trainer.tables import DeliveryRow, ModelRow


class Outbox:
    """Takes the news of models that have ended.

    Args:
        uris: Where all of them are sent.
    """

    def __init__(self, uris: Sequence[str] = ()) -> None:
        """Keep the addresses."""
        self._uris = tuple(uris)

    def note(self, session: Session, row: ModelRow, now: datetime) -> None:
        """Have the end of a model told.

        Args:
            session: The write transaction that ends it.
            row: The model, in the state that it ended in.
            now: When.
        """
        uris = dict.fromkeys([*self._uris, *([row.webhook_uri] if row.webhook_uri else [])])
        body = _body(row, now)
        for uri in uris:
            session.add(
                DeliveryRow(
                    id=f"msg_{secrets.token_hex(16)}",
                    tenant=row.tenant,
                    model=row.id,
                    uri=uri,
                    body=body,
                    create_time=now,
                )
            )


def _body(row: ModelRow, now: datetime) -> str:
    message = {
        "type": f"model.{row.state.lower()}",
        "timestamp": now.isoformat(),
        "data": {
            "tenant": row.tenant,
            "name": row.name,
            "display_name": row.display_name,
            "state": row.state,
            "state_reason": row.state_reason,
            "dataset": f"datasets/{row.dataset}",
            "base_model": starts.full_name(row.base_model),
        },
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
