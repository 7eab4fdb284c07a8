"""A service started as its container starts it, with what its image holds and no more."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from isogloss.v1.dataset_service_pb2 import GetDatasetRequest
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.inference_service_pb2 import EmbedRequest
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub
from isogloss.v1.model_service_pb2 import GetModelRequest
from isogloss.v1.model_service_pb2_grpc import ModelServiceStub
from tests.deploy.images import COMPOSE, IMAGES, SETTINGS, mount
from tests.engines import free_ports

pytestmark = pytest.mark.e2e

_START_SECONDS = 110
"""For a service to serve on a busy machine."""


@pytest.mark.parametrize("name", SETTINGS)
def test_container_serves_who_has_a_key(name: str, made_secrets: Path, tmp_path: Path) -> None:
    home = IMAGES[name].lay_out(tmp_path / "app")
    port = free_ports(1)[0]
    environment = _environment(name, made_secrets, tmp_path, port)
    start, probe = ([sys.executable, *arguments] for _, *arguments in IMAGES[name].commands)
    with _running(start, home, environment) as process:
        _wait_until_healthy(probe, home, environment, process)

        ca = (made_secrets / "ca.pem").read_bytes()
        key = (made_secrets / "api_key").read_text().strip()
        credentials = grpc.ssl_channel_credentials(ca)
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            assert _code(channel, name, None) is grpc.StatusCode.UNAUTHENTICATED
            assert _code(channel, name, "wrong") is grpc.StatusCode.UNAUTHENTICATED
            assert _code(channel, name, key) is grpc.StatusCode.NOT_FOUND

        process.terminate()
        assert process.wait(timeout=30) == 0
    unhealthy = subprocess.run(
        probe, cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert unhealthy.returncode == 1
    assert unhealthy.stderr.startswith(f"{name}: ")


def _environment(name: str, secrets: Path, folder: Path, port: int) -> dict[str, str]:
    """Return the container's environment; engines are a directory and SQLite, paths are here."""
    run_secrets = mount(name, secrets, folder / "run-secrets")
    (run_secrets / f"ISOGLOSS_{name.upper()}_DATABASE").unlink(missing_ok=True)
    given = {**IMAGES[name].environment, **COMPOSE["services"][name]["environment"]}
    ours = {
        variable: value.replace("/run/secrets", str(run_secrets))
        for variable, value in given.items()
        if variable.startswith("ISOGLOSS_")
    }
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder / "app"),
        **ours,
        f"ISOGLOSS_{name.upper()}": f"localhost:{port}",
        f"ISOGLOSS_{name.upper()}_ADDRESS": f"0.0.0.0:{port}",
        f"ISOGLOSS_{name.upper()}_DATA_DIRECTORY": str(folder / "data"),
        f"ISOGLOSS_{name.upper()}_STORE": str(folder / "store"),
    }


@contextlib.contextmanager
def _running(
    command: list[str], home: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _wait_until_healthy(
    probe: list[str], home: Path, environment: Mapping[str, str], process: subprocess.Popen[bytes]
) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if subprocess.run(probe, cwd=home, env=environment, check=False).returncode == 0:
            return
        time.sleep(0.5)
    pytest.fail(f"never healthy:\n{(home / 'log').read_text()[-3000:]}")


def _code(channel: grpc.Channel, name: str, key: str | None) -> grpc.StatusCode:
    """Ask for what does not exist; return how that is answered."""
    call, request = _question(channel, name)
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    with pytest.raises(grpc.RpcError) as refused:
        call(request, metadata=metadata, timeout=30)
    code: grpc.StatusCode = refused.value.code()
    return code


def _question(
    channel: grpc.Channel, name: str
) -> tuple[grpc.UnaryUnaryMultiCallable[Message, Message], Message]:
    calls = {
        "ingest": (DatasetServiceStub(channel).GetDataset, GetDatasetRequest(name="datasets/none")),
        "trainer": (ModelServiceStub(channel).GetModel, GetModelRequest(name="models/none")),
        "inference": (
            InferenceServiceStub(channel).Embed,
            EmbedRequest(model="models/none", texts=["A text."]),
        ),
    }
    return calls[name]  # type: ignore[return-value] # each call with a request of its own
