"""What the tests of deploy/ share."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deploy.images import DEPLOY


@pytest.fixture(scope="session")
def made_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-secrets.sh wrote."""
    folder = tmp_path_factory.mktemp("secrets") / "secrets"
    subprocess.run([DEPLOY / "make-secrets.sh", folder], check=True, capture_output=True)
    return folder
