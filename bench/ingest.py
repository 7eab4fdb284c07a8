"""How fast and how small ingest is with large files, beside a bare DuckDB copy of the same file.

    python -m bench.ingest --data DIR [--gigabytes 1 5] [--scratch DIR] [--json]

The rows are made of the sets in DIR (`bench.large`). For every size a server of its own, on a
directory and SQLite, takes the file and validates it: once without looking for near duplicates,
once with. Its peak memory is the kernel's (VmHWM, Linux). The copy has as many threads as one
validation. A ratio compares within the run; absolute times belong to the machine. CPU seconds
depend less on what else the machine does: where they are twice those of the clock, two threads
never waited.
"""

from __future__ import annotations

import argparse
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

from bench.large import write_large
from examples.demo import free_ports
from isogloss import Client, Unavailable, UploadProgress
from services.ingest.settings import IngestSettings

MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """What one upload and its validation took."""

    near_duplicates: str
    upload_seconds: float
    """From the first byte sent to the last; the client's own reading for the sum included."""

    validate_seconds: float
    """From the last byte sent to READY: checksum, all checks, publication."""

    cpu_seconds: float
    """Of the server's threads together in that time."""

    idle_memory: int
    """Peak resident bytes of the server before the upload."""

    peak_memory: int
    """Peak resident bytes of the server after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one file took."""

    bytes: int
    rows: int
    copy_seconds: float
    """DuckDB's own rewrite of the same file to Parquet."""

    copy_cpu_seconds: float
    """Of all threads in that time."""

    runs: tuple[Validated, ...]


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sets")
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1.0])
    parser.add_argument("--scratch", type=Path, help="where files lie, and stay for the next run")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = arguments.scratch or Path(temporary)
        measured = [
            measure(arguments.data, int(size * GIGABYTE), scratch) for size in arguments.gigabytes
        ]
    if arguments.json:
        print(json.dumps([asdict(each) for each in measured]))
        return 0
    for each in measured:
        print_one(each)
    return 0


def print_one(measured: Measured) -> None:
    """Print what one file took, as a table."""
    print(f"{measured.bytes / GIGABYTE:.1f} GB, {measured.rows:,} rows")
    print(
        f"  {'bare DuckDB copy':28}{measured.copy_seconds:8.1f} s"
        f"{measured.copy_cpu_seconds:8.1f} s of CPU"
    )
    for run in measured.runs:
        ratio = run.validate_seconds / measured.copy_seconds
        cpu_ratio = run.cpu_seconds / measured.copy_cpu_seconds
        rate = measured.bytes / MEGABYTE / run.upload_seconds
        print(
            f"  {'near duplicates ' + run.near_duplicates:28}{run.validate_seconds:8.1f} s"
            f"{run.cpu_seconds:8.1f} s of CPU"
            f"{ratio:7.2f}x and {cpu_ratio:.2f}x of the copy"
            f"{run.peak_memory / MEGABYTE:8.0f} MB at most "
            f"({run.idle_memory / MEGABYTE:.0f} idle), upload {rate:.0f} MB/s"
        )


def measure(data: Path, size: int, scratch: Path) -> Measured:
    """Make a file, copy it, and upload it twice."""
    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / f"rows-{size}.csv"
    count = file.with_suffix(".count")
    if not count.exists():
        count.write_text(str(write_large(file, data, size)))
    copy_seconds, copy_cpu_seconds = copy(file)
    return Measured(
        bytes=file.stat().st_size,
        rows=int(count.read_text()),
        copy_seconds=copy_seconds,
        copy_cpu_seconds=copy_cpu_seconds,
        runs=tuple(validate(file, near_duplicates=choice) for choice in ("off", "report")),
    )


def copy(file: Path) -> tuple[float, float]:
    """Let DuckDB alone rewrite the file; return its seconds, of the clock and of CPU."""
    threads = IngestSettings.model_fields["duckdb_threads"].default
    with (
        tempfile.TemporaryDirectory(dir=file.parent) as scratch,
        duckdb.connect(config={"threads": threads}) as database,
    ):
        rows = database.read_csv(str(file), header=False, all_varchar=True)
        began, began_cpu = time.monotonic(), time.process_time()
        rows.write_parquet(f"{scratch}/copy.parquet")
        return time.monotonic() - began, time.process_time() - began_cpu


def validate(file: Path, *, near_duplicates: str) -> Validated:
    """Upload the file to a new server and wait until it is validated."""
    sent: list[tuple[float, float]] = []

    def note(so_far: UploadProgress) -> None:
        if so_far.sent_bytes == so_far.total_bytes:
            sent.append((time.monotonic(), cpu_seconds(process)))

    with (
        tempfile.TemporaryDirectory(dir=file.parent) as data,
        server(Path(data)) as (address, process),
        Client(ingest=address) as client,
    ):
        wait_until_up(client)
        idle = peak_memory(process)
        began = time.monotonic()
        client.datasets.upload("large", train=file, near_duplicates=near_duplicates, progress=note)
        ended = time.monotonic()
        cpu_after = cpu_seconds(process)
        peak = peak_memory(process)
    all_sent, cpu_before = sent[0]
    return Validated(
        near_duplicates=near_duplicates,
        upload_seconds=all_sent - began,
        validate_seconds=ended - all_sent,
        cpu_seconds=cpu_after - cpu_before,
        idle_memory=idle,
        peak_memory=peak,
    )


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


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return for how long the threads of the process have worked, together."""
    stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
    # Behind the name, which may hold blanks, the twelfth and thirteenth field: user and system.
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


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
