"""What all rows share: models published, texts drawn, contenders started on first use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from bench.inference import texts
from bench.inference.loads import Load, Outcome, send
from bench.inference.peers import Infinity, http_generator, infinity, library
from bench.inference.processes import Contender, Server, module, serving
from bench.inference.trained import Trained, trained
from bench.labelled_sets import small_base
from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common import layout
from services.common.manifests import create_manifest, read_manifest
from services.common.storage import ObjectStore, open_store, read_all
from services.common.threads import available_cpus

BASE = "small-512"
"""The base `small`, taking the 512 tokens that all contenders take instead of the 256 that it was
trained with, so that nobody wins by leaving tokens out."""

MODEL = f"baseModels/{BASE}"
MAX_TOKENS = 512
MIXES: Mapping[str, tuple[range, int]] = {"short": (texts.SHORT, 512), "mixed": (texts.MIXED, 192)}
"""Lengths of the texts and how many there are: some seconds of two cores."""

_QUICK = 16
"""How much less a smoke test does."""

_QUICK_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of the command line."""

    directory: Path
    """Kept from run to run: what is published, and the servers' data."""

    data: Path | None
    """Folder of labelled sets."""

    quick: bool
    soak: bool
    """Whether memory is looked at over the full number of texts."""


class Place:
    """Where the rows measure; ends all that it started.

    Args:
        options: Of the command line.
    """

    def __init__(self, options: Options) -> None:
        """Publish what is not published yet, and write the texts."""
        self.options = options
        self.directory = options.directory.absolute()
        self.cpus = available_cpus()
        self._open = ExitStack()
        self.base = self._peers_base()
        self.store: ObjectStore = open_store(str(self.directory / "store"))
        if self.store.stat(layout.base_model_manifest(BASE)) is None:
            self.publish(BASE, self.base)
        self._write_texts()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all that was started."""
        self._open.close()

    def scaled(self, amount: float) -> float:
        """Return an amount of work, or a smoke test's share of it."""
        return amount / _QUICK if self.options.quick else amount

    def seconds(self, amount: float) -> float:
        """Return how long to measure: in a smoke test as long as some answers need."""
        return min(amount, _QUICK_SECONDS) if self.options.quick else amount

    @property
    def rounds(self) -> int:
        """How often contenders take turns."""
        return 1 if self.options.quick else 3

    def texts(self, mix: str) -> Path:
        """Return the file of a mix."""
        return self.directory / f"{mix}.json"

    def read(self, mix: str) -> list[str]:
        """Return the texts of a mix."""
        found: list[str] = json.loads(self.texts(mix).read_text(encoding="utf-8"))
        return found

    def count(self, mix: str) -> int:
        """Return how many texts a mix has."""
        return int(self.scaled(MIXES[mix][1]))

    @cached_property
    def generator(self) -> Contender:
        """The load generator."""
        command = module("bench.inference.load")
        return self._open.enter_context(Contender(command, name="the load generator"))

    @cached_property
    def bare(self) -> Contender:
        """The graph without a server."""
        files = (self.graph, self.base / "tokenizer.json")
        command = module("bench.inference.bare", *map(str, files), str(self.cpus))
        return self._open.enter_context(Contender(command, name="bare ONNX Runtime"))

    @cached_property
    def graph(self) -> Path:
        """The graph that is served, beside the base's other files, where fastembed wants it."""
        target = self.base / "model.onnx"
        if not target.is_file():
            graph = self.manifest(BASE).variants[0].graph
            target.write_bytes(read_all(self.store, graph.key, limit=graph.size))
        return target

    @cached_property
    def sentence_transformers(self) -> Contender:
        """The library."""
        return self._library("sentence-transformers", str(self.base), str(self.cpus))

    @cached_property
    def fastembed(self) -> Contender:
        """The library, with our graph."""
        return self._library("fastembed", str(self.base), str(self.cpus), self.graph.name)

    @cached_property
    def infinity(self) -> Infinity:
        """The server."""
        return self._open.enter_context(infinity(self.base))

    @cached_property
    def http_generator(self) -> Contender:
        """The load generator for it."""
        return self._open.enter_context(http_generator())

    @cached_property
    def server(self) -> Server:
        """A server with default settings and the base loaded."""
        return self._open.enter_context(serving(self.directory))

    @cached_property
    def trained(self) -> Trained:
        """A fine-tuned model."""
        return trained(self.directory, MODEL)

    def send(self, load: Load) -> Outcome:
        """Let the load generator send a load."""
        return send(self.generator, load)

    def manifest(self, base: str) -> ModelManifest:
        """Return the manifest of a base."""
        return read_manifest(self.store, layout.base_model_manifest(base), ModelManifest)

    def publish(self, base: str, directory: Path) -> None:
        """Publish a base from a directory."""
        subprocess.run(
            [
                *module("services.trainer.publish_base", base, str(directory)),
                *("--data-directory", str(self.directory)),
            ],
            check=True,
            stdout=sys.stderr,
        )

    def copies(self, base: str, count: int) -> list[str]:
        """Publish a base under other names too; return their resource names."""
        manifest = self.manifest(base)
        names = []
        for number in range(count):
            manifest.name = f"baseModels/{base}-{number}"
            names.append(manifest.name)
            key = layout.base_model_manifest(f"{base}-{number}")
            if self.store.stat(key) is None:
                create_manifest(self.store, key, manifest)
        return names

    def tokenizer(self) -> Tokenizer:
        """Return what counts tokens."""
        tokenizer = Tokenizer.from_file(str(self.base / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _library(self, name: str, *arguments: str) -> Contender:
        return self._open.enter_context(library(name, *arguments))

    def _peers_base(self) -> Path:
        """Return the base's directory as every peer can read it."""
        target = self.directory / BASE
        if not target.is_dir():
            shutil.copytree(small_base(), target)
            settings = target / "sentence_bert_config.json"
            limited = json.loads(settings.read_text()) | {"max_seq_length": MAX_TOKENS}
            settings.write_text(json.dumps(limited))
        return target

    def _write_texts(self) -> None:
        source, tokenizer = texts.messages(self.options.data), self.tokenizer()
        for name, (lengths, _) in MIXES.items():
            drawn = texts.mix(source, tokenizer, lengths, self.count(name))
            self.texts(name).write_text(json.dumps(drawn), encoding="utf-8")
