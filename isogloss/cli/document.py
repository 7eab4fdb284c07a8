"""Results as JSON: one document for each result."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from isogloss.cli.safe import escaped
from isogloss.errors import IsoglossError


def dumps(value: object, *, indent: int | None = 2) -> str:
    """Write a result: keys are attributes' names, times ISO 8601 in UTC, time spans seconds."""
    return escaped(json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False))


def plain(value: Any) -> Any:  # noqa: ANN401, PLR0911 (any value of ours to any of JSON's; a case each)
    """Turn a result into what JSON has; what is no number becomes null."""
    if isinstance(value, IsoglossError):
        return {
            "code": value.code.name,
            "reason": value.reason,
            "message": value.message,
            "violations": plain(value.violations),
            "metadata": value.metadata,
            "retry_after": value.retry_after,
            "request_id": value.request_id,
        }
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        if any(isinstance(key, tuple) for key in value):
            return [
                {"actual": actual, "predicted": predicted, "count": count}
                for (actual, predicted), count in value.items()
            ]
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
