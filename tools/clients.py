"""Generates the stubs of the Go and the Node example client from protos/.

    python -m tools.clients           both
    python -m tools.clients go        one of them

Each client pins its own generator (`go.mod`, `package-lock.json`) and says in `buf.gen.yaml`
how it runs. The stubs are not checked in.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from tools.protos import ROOT, export_google_protos

CLIENTS = ROOT / "examples" / "clients"
NEEDS = {"go": "go", "node": "npm"}
"""The program that each language's generator comes with."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("languages", nargs="*", metavar="go|node", help="without any: both")
    languages = parser.parse_args(argv).languages or sorted(NEEDS)
    for language in languages:
        if language not in NEEDS:
            parser.error(f"there is no client for {language!r}: go or node")
        if shutil.which(NEEDS[language]) is None:
            parser.error(f"the {language} client needs {NEEDS[language]} on the PATH")
    export_google_protos(ROOT / "build" / "googleapis")
    for language in languages:
        generate(language)


def generate(language: str) -> None:
    """Write `gen/` of one client anew.

    Raises:
        SystemExit: A generator failed; it has said why.
    """
    client = CLIENTS / language
    if language == "node":
        run(["npm", "ci", "--ignore-scripts", "--no-progress"], client)
    run([str(Path(sysconfig.get_path("scripts")) / "buf"), "generate"], client)


def run(command: list[str], folder: Path) -> None:
    """Run a command in a folder; end with its status where it fails."""
    status = subprocess.run(command, check=False, cwd=folder).returncode
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    main()
