"""Which version of Isogloss a server is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def server_version() -> str:
    """Return the version that is installed; `unknown` where it runs from its sources alone."""
    try:
        return version("isogloss")
    except PackageNotFoundError:
        return "unknown"
