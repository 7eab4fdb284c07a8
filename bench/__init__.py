"""Programs behind every figure that the documentation quotes."""

from __future__ import annotations

import os

# As the trainer does, before torch loads: threads that spin lose to everybody else on a machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
