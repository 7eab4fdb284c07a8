"""How fast ingest takes a file into an S3 store, beside the minio SDK's own upload of that file.

    python -m bench.upload --endpoint URL --access-key KEY --secret-key KEY
                           [--megabytes 200] [--rounds 5] [--json]

Both run in turn on the same server, from the same file in the page cache; the best round of each
counts. The SDK sends parts of its own choice, three at a time; ingest takes one gRPC stream over
loopback and stores parts of 8 MiB, three at a time as well, each created only if absent. A ratio
compares within the run.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import grpc
from minio import Minio

from bench.ingest import MEGABYTE, server, wait_until_up
from isogloss import Client
from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.split_pb2 import SPLIT_TRAIN

MESSAGE_BYTES = 1 << 20
BUCKET = "isogloss-bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one file took, best of all rounds."""

    bytes: int
    sdk_seconds: float
    ingest_seconds: float
    """From the first byte sent until the last one is stored."""

    @property
    def ratio(self) -> float:
        """Rate of ingest over the SDK's."""
        return self.sdk_seconds / self.ingest_seconds


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", required=True, help="http://host:port of an S3 server")
    parser.add_argument("--access-key", required=True)
    parser.add_argument("--secret-key", required=True)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = measure(arguments)
    if arguments.json:
        print(json.dumps(asdict(measured) | {"ratio": measured.ratio}))
        return 0
    for name, seconds in (
        ("minio SDK", measured.sdk_seconds),
        ("ingest", measured.ingest_seconds),
    ):
        print(f"{name:10}{seconds:8.2f} s{measured.bytes / MEGABYTE / seconds:8.0f} MB/s")
    print(f"{'ratio':10}{measured.ratio:8.2f}")
    return 0


def measure(arguments: argparse.Namespace) -> Measured:
    """Upload a file in turn by either way."""
    client = Minio(
        urlsplit(arguments.endpoint).netloc,
        access_key=arguments.access_key,
        secret_key=arguments.secret_key,
        secure=arguments.endpoint.startswith("https"),
    )
    if not client.bucket_exists(BUCKET):
        client.make_bucket(BUCKET)
    os.environ |= {
        "ISOGLOSS_INGEST_STORE": f"s3://{BUCKET}/{secrets.token_hex(4)}"
        f"?endpoint={quote(arguments.endpoint, safe='')}",
        "ISOGLOSS_INGEST_STORE_ACCESS_KEY": arguments.access_key,
        "ISOGLOSS_INGEST_STORE_SECRET_KEY": arguments.secret_key,
    }
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "file"
        size = write_file(file, arguments.megabytes)
        with (
            server(Path(directory) / "data") as (address, _),
            grpc.insecure_channel(address) as channel,
        ):
            with Client(ingest=address) as waiting:
                wait_until_up(waiting)
            stub = DatasetServiceStub(channel)
            rounds = [
                (by_sdk(client, file), by_ingest(stub, file, size)) for _ in range(arguments.rounds)
            ]
    return Measured(
        bytes=size,
        sdk_seconds=min(sdk for sdk, _ in rounds),
        ingest_seconds=min(ingest for _, ingest in rounds),
    )


def write_file(file: Path, megabytes: int) -> int:
    """Write what does not compress; return its size."""
    with file.open("wb") as target:
        for _ in range(megabytes):
            target.write(os.urandom(MEGABYTE))
    return file.stat().st_size


def by_sdk(client: Minio, file: Path) -> float:
    """Upload with the SDK; return its seconds."""
    began = time.monotonic()
    client.fput_object(BUCKET, "by-sdk", str(file))
    seconds = time.monotonic() - began
    client.remove_object(BUCKET, "by-sdk")
    return seconds


def by_ingest(stub: DatasetServiceStub, file: Path, size: int) -> float:
    """Upload to a new dataset; return its seconds."""
    created = stub.CreateDataset(
        messages.CreateDatasetRequest(dataset=Dataset(display_name="upload"))
    )
    began = time.monotonic()
    response = stub.WriteDataset(pieces(created.name, file))
    seconds = time.monotonic() - began
    if response.committed_size != size:
        raise RuntimeError(f"{response.committed_size} of {size} bytes were stored.")
    stub.DeleteDataset(messages.DeleteDatasetRequest(name=created.name))
    return seconds


def pieces(name: str, file: Path) -> Iterator[messages.WriteDatasetRequest]:
    """Yield a file as messages."""
    with file.open("rb") as source:
        yield messages.WriteDatasetRequest(name=name, split=SPLIT_TRAIN, offset=0)
        while data := source.read(MESSAGE_BYTES):
            yield messages.WriteDatasetRequest(data=data)


if __name__ == "__main__":
    sys.exit(main())
