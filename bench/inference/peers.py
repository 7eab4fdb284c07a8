"""Peers in environments of their own: pinned, on the same weights, with their own defaults."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.environments import environment
from bench.inference.processes import QUIET, START_SECONDS, Contender, ContenderFailed, free_port

LIBRARIES = ("sentence-transformers==6.2.0", "fastembed==0.9.1")
INFINITY = ("infinity-emb[server,torch]==0.0.78",)
"""Wants another transformers than the libraries do."""

_HERE = Path(__file__).parent
MODEL = "bench"


def library(name: str, *arguments: str) -> Contender:
    """Start a library that embeds in its own process; see `peer_encode`."""
    python = environment("libraries", LIBRARIES)
    command = [str(python), str(_HERE / "peer_encode.py"), name, *arguments]
    return Contender(command, name=name)


def http_generator() -> Contender:
    """Start the load generator for HTTP servers; see `peer_http`."""
    python = environment("libraries", LIBRARIES)
    return Contender([str(python), str(_HERE / "peer_http.py")], name="the HTTP load generator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Infinity:
    """infinity-emb, running."""

    url: str
    pid: int


@contextmanager
def infinity(base: Path) -> Iterator[Infinity]:
    """Run infinity-emb on a base with its torch engine.

    Raises:
        ContenderFailed: Where it does not come up.
    """
    program = environment("infinity", INFINITY).with_name("infinity_emb")
    port = free_port()
    flags = {
        "--model-id": str(base),
        "--served-model-name": MODEL,
        "--engine": "torch",
        "--device": "cpu",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--log-level": "error",
    }
    process = subprocess.Popen(
        [str(program), "v2", *(part for flag in flags.items() for part in flag)],
        env=os.environ | QUIET | {"INFINITY_ANONYMOUS_USAGE_STATS": "0"},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=sys.stderr.fileno(),
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, f"{url}/health")
        yield Infinity(url=f"{url}/embeddings", pid=process.pid)
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1.0):  # noqa: S310 (our own address)
                return
        except OSError:
            time.sleep(0.1)
    raise ContenderFailed("infinity-emb did not start")
