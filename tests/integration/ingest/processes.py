"""The real ingest process, killed and started again on what it left."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
START_SECONDS = 60


class IngestProcess:
    """An ingest process on one data directory; leases of a dead one run out soon."""

    def __init__(self, directory: Path, *flags: str) -> None:
        """Start it, and wait until it listens.

        Args:
            directory: Holds its data and its log.
            flags: Further settings, as on the command line.
        """
        log = directory / "log"
        # A file, not a pipe: one that nobody empties would stop the process once it is full.
        with log.open("ab") as output:
            began = output.tell()
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "services.ingest",
                    *("--data-directory", str(directory / "data")),
                    *("--address", "127.0.0.1:0"),
                    *("--lease-seconds", "1"),
                    *("--poll-seconds", "0.1"),
                    *("--max-attempts", "1000"),
                    *("--log-format", "json"),
                    *flags,
                ],
                cwd=REPOSITORY,
                stdout=output,
                stderr=output,
            )
        self.address = f"127.0.0.1:{self._port(log, began)}"

    def end(self, number: signal.Signals) -> int:
        """Send it a signal, and wait until it is gone; return its status."""
        self._process.send_signal(number)
        return self._process.wait()

    def _port(self, log: Path, began: int) -> int:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if found := re.search(rb'"127\.0\.0\.1:(\d+)"', log.read_bytes()[began:]):
                return int(found[1])
            time.sleep(0.05)
        raise AssertionError(f"ingest did not start; see {log}")
