"""The real ingest process, killed and started again on what it left."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


class IngestProcess:
    """An ingest process on one data directory; leases of a dead one run out soon."""

    def __init__(self, directory: Path, *flags: str) -> None:
        """Start it, and wait until it listens.

        Args:
            directory: Holds its data and its log.
            flags: Further settings, as on the command line.
        """
        self._log = (directory / "log").open("ab")
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
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._log.write(line)
            if found := re.search(rb'"127\.0\.0\.1:(\d+)"', line):
                self.address = f"127.0.0.1:{int(found[1])}"
                return
        raise AssertionError(f"ingest did not start; see {directory / 'log'}")

    def end(self, number: signal.Signals) -> int:
        """Send it a signal, and wait until it is gone; return its status."""
        self._process.send_signal(number)
        self._process.communicate()
        self._log.close()
        return self._process.returncode
