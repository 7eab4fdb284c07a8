"""The command `isogloss`. Uses the client as anybody would; knows no protobuf."""

from __future__ import annotations

from isogloss.cli.app import main

__all__ = ["main"]
