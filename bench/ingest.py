"""How fast and how small ingest is with a large file, beside a bare DuckDB copy of the same file.

    python -m bench.ingest --data DIR [--megabytes 200] [--json]

The file is made of the texts of DIR/banking77/train.csv, each row made unique by a number. The
server is a process of its own on a directory and SQLite; its peak memory is the kernel's
(VmHWM, Linux). A ratio compares within the run; absolute times belong to the machine.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from examples.demo import free_ports
from isogloss import Client, Unavailable, UploadProgress

MEGABYTE = 1_000_000
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run took."""

    bytes: int
    rows: int
    upload_seconds: float
    """From the first byte sent to the end of the stream."""

    validate_seconds: float
    """From FinalizeDataset, sha256 included, to READY."""

    copy_seconds: float
    """DuckDB's own rewrite of the same file to Parquet, one thread, in this process."""

    idle_memory: int
    """Peak resident bytes of the server before the upload."""

    peak_memory: int
    """Peak resident bytes of the server after it."""


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sets")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "large.csv"
        source = arguments.data / "banking77" / "train.csv"
        rows = write_large(file, source, arguments.megabytes * MEGABYTE)
        measured = measure(file, rows, Path(scratch))
    if arguments.json:
        print(json.dumps(asdict(measured)))
        return 0
    megabytes = measured.bytes / MEGABYTE
    print(f"{megabytes:.0f} MB, {measured.rows:,} rows")
    rate = megabytes / measured.upload_seconds
    print(f"upload       {measured.upload_seconds:8.1f} s  {rate:.0f} MB/s")
    ratio = measured.validate_seconds / measured.copy_seconds
    print(f"validation   {measured.validate_seconds:8.1f} s  {ratio:.1f}x of the bare copy")
    print(f"bare copy    {measured.copy_seconds:8.1f} s")
    print(f"peak memory  {measured.peak_memory / MEGABYTE:8.0f} MB")
    print(f"  when idle  {measured.idle_memory / MEGABYTE:8.0f} MB")
    return 0


def write_large(file: Path, source: Path, size: int) -> int:
    """Write at least `size` bytes of unique rows; return how many rows."""
    with source.open(encoding="utf-8", newline="") as texts:
        rows = list(csv.reader(texts))
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        for number, (text, label) in enumerate(itertools.cycle(rows)):
            if number % 1000 == 0 and target.tell() >= size:
                return number
            writer.writerow((f"{text} {number}", label))
    raise ValueError(f"{source} holds no rows")


def measure(file: Path, rows: int, scratch: Path) -> Measured:
    """Upload and validate the file, then copy it."""
    with server(scratch / "data") as (address, process):
        with Client(ingest=address) as client:
            wait_until_up(client)
            idle = peak_memory(process)
            sent: list[float] = []

            def note(so_far: UploadProgress) -> None:
                if so_far.sent_bytes == so_far.total_bytes:
                    sent.append(time.monotonic())

            began = time.monotonic()
            client.datasets.upload("large", train=file, progress=note)
            ended = time.monotonic()
        peak = peak_memory(process)
    uploaded = sent[0] if sent else ended
    return Measured(
        bytes=file.stat().st_size,
        rows=rows,
        upload_seconds=uploaded - began,
        validate_seconds=ended - uploaded,
        copy_seconds=copy(file, scratch / "copy.parquet"),
        idle_memory=idle,
        peak_memory=peak,
    )


def copy(file: Path, target: Path) -> float:
    """Let DuckDB alone rewrite the file; return its seconds."""
    with duckdb.connect(config={"threads": 1}) as database:
        began = time.monotonic()
        database.read_csv(str(file), header=False, all_varchar=True).write_parquet(str(target))
        return time.monotonic() - began


def wait_until_up(client: Client) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            list(client.datasets.list())
        except Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """Return the most bytes that the process has had in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@contextmanager
def server(data: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run ingest on a free port; yield its address and its process."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    settings = {"ISOGLOSS_INGEST_ADDRESS": address, "ISOGLOSS_INGEST_DATA_DIRECTORY": str(data)}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.ingest"],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield address, process
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
