"""Environments of their own for peers: what they need drags this project's packages down."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_ENVIRONMENTS = Path(".cache/bench")


@cache
def environment(name: str, packages: tuple[str, ...]) -> Path:
    """Return the Python of an environment with some packages, made on first use.

    Args:
        name: What it is for, in its folder's name.
        packages: As pip takes them; others make another environment.
    """
    home = (_ENVIRONMENTS / f"{name}-{_mark(packages)}").absolute()
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        uv = os.environ.get("UV", "uv")
        print(f"Making an environment for {name} in {home} ...", file=sys.stderr)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), *packages]
        subprocess.run(install, check=True)
        (home / "complete").touch()
    return python


def _mark(packages: Sequence[str]) -> str:
    return hashlib.sha256(repr((sys.version, tuple(packages))).encode()).hexdigest()[:12]
