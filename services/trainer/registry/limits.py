"""What transfers of bundles may take. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.pace import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What transfers may take."""

    concurrent: int
    """Transfers at the same time."""

    import_bytes: int
    """Size of a bundle that comes in."""

    pace: Pace
