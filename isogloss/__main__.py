"""`python -m isogloss` is the command `isogloss`."""

from __future__ import annotations

from isogloss.cli import main

main()
