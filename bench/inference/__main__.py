"""The command `python -m bench.inference`: measure, and print each figure beside its target."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bench.inference.figures import Figure
from bench.inference.place import Options, Place
from bench.inference.rows import (
    idle,
    loading,
    memory,
    neighbours,
    overload,
    quota,
    restarts,
    sharing,
    throughput,
)
from services.common.logs import configure_logging

Row = Callable[[Place], Iterable[Figure]]

ROWS: Mapping[str, Row] = {
    "overhead": idle.overhead,
    "idle-peer": idle.against_infinity,
    "bare": throughput.against_bare,
    "peers": throughput.against_peers,
    "int8": throughput.quantized,
    "interactive": sharing.interactive,
    "overload": overload.overload,
    "hot-load": loading.hot,
    "first-call": loading.first,
    "texts": memory.texts,
    "loads": memory.loads,
    "neighbours": neighbours.invariance,
    "quota": quota.one_core,
    "restart": restarts.rolling,
    "alias": restarts.alias,
    "kill": restarts.killed,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 1 where a row could not be measured."""
    options = _options(arguments)
    # So that servers and contenders are ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    configure_logging(level="warning", format="console", service="bench")
    asked = Options(
        directory=options.data_directory,
        data=options.data,
        quick=options.quick,
        soak=options.soak,
    )
    failed = 0
    report: list[dict[str, object]] = []
    with Place(asked) as place:
        for name in options.only or ROWS:
            began = time.monotonic()
            try:
                figures = list(ROWS[name](place))
            except Exception as error:  # noqa: BLE001 (one row's failure is not the others')
                failed += 1
                print(f"{name}: not measured: {type(error).__name__}: {error}", file=sys.stderr)
                report.append({"row": name, "error": f"{type(error).__name__}: {error}"})
                continue
            seconds = time.monotonic() - began
            for figure in figures:
                told = {"row": name, **figure.plain, "load_average": os.getloadavg()[0]}
                report.append(told)
                if not options.json:
                    print("\n".join(figure.lines()), flush=True)
            print(f"({name}: {seconds:.0f} s)", file=sys.stderr)
    if options.json:
        print(json.dumps(report, indent=1))
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.inference", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON array instead of lines")
    parser.add_argument("--only", type=_rows, help=f"some of {', '.join(ROWS)}, by commas")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke test: its figures mean nothing"
    )
    parser.add_argument("--soak", action="store_true", help="memory over the full number of texts")
    parser.add_argument("--data", type=Path, help="folder of labelled sets; else the demo's texts")
    parser.add_argument(
        "--data-directory",
        type=Path,
        default=Path("build/bench"),
        help="kept from run to run: models that are published, the servers' data",
    )
    return parser.parse_args(arguments)


def _rows(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(ROWS):
        raise argparse.ArgumentTypeError(f"{min(unknown)!r} is none of {', '.join(ROWS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
