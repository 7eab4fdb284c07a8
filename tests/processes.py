"""Services as real processes for end-to-end tests: started, killed, started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120
STOP_SECONDS = 40


@dataclass(slots=True, kw_only=True)
class ServiceProcess:
    """One service and the settings it is started with."""

    name: str
    address: str
    log: Path
    settings: Mapping[str, object]
    """By name without prefix; what is no text is written as JSON."""

    probe: Mapping[str, str] = field(default_factory=dict)
    """What its health check needs in its environment, such as ISOGLOSS_TLS_CA."""

    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        prefix = f"ISOGLOSS_{self.name.upper()}_"
        values = {"ADDRESS": self.address, **self.settings}
        environment = {
            f"{prefix}{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in values.items()
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self.name}"],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=log,
                stderr=log,
            )

    def wait_until_healthy(self) -> None:
        environment = {**os.environ, **self.probe, f"ISOGLOSS_{self.name.upper()}": self.address}
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            command = [sys.executable, "-m", "services.common.probe", self.name]
            asked = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, check=False
            )
            if asked.returncode == 0:
                return
            time.sleep(0.3)
        pytest.fail(f"{self.name} does not serve:\n{self.log.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """Stop it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to stop; kill it where it does not."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
