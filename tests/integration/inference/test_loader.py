"""What a bundle computes by itself is what the service computes."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np

from isogloss.v1 import inference_service_pb2 as pb
from services.common.storage import ObjectStore
from services.trainer.registry.bundle import Place, pack
from tests.integration.inference.serving import LONG, Running, unpacked
from tests.tiny_model import publish_tiny_model

PROGRAM = """
import json, sys
sys.path.insert(0, ".")
from loader import Model
model, texts = Model("."), json.loads(sys.stdin.read())
print(json.dumps([model.embed(texts).tolist(), model.classify(texts)]))
"""


async def test_the_loader_answers_as_the_service_does(
    running: Running, store: ObjectStore, tmp_path: Path
) -> None:
    manifest = publish_tiny_model(store, "default", "tone", seed=5)
    place = Place(tenant="default", model="tone", attempt=1, token=1)
    bundle = b"".join(pack(store, manifest, place, texts=False).chunks())
    root = tmp_path / "bundle"
    with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:") as archive:
        archive.extractall(root, filter="data")
    texts = ["My order is late!", "great", LONG, "ÄÖ unknown wörds 東京"]

    done = await asyncio.to_thread(
        subprocess.run,
        # Isolated: nothing of this project is on its path.
        [sys.executable, "-I", "-c", PROGRAM],
        cwd=root,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    vectors, answers = json.loads(done.stdout)
    embedded = await running.stub.Embed(pb.EmbedRequest(model="models/tone", texts=texts))
    classified = await running.stub.Classify(pb.ClassifyRequest(model="models/tone", texts=texts))

    np.testing.assert_allclose(vectors, [unpacked(r) for r in embedded.results], atol=1e-6)
    for answer, result in zip(answers, classified.results, strict=True):
        told = {label.label: label.confidence for label in result.classification.labels}
        assert max(answer, key=lambda label: answer[label]) == result.classification.labels[0].label
        np.testing.assert_allclose(
            [answer[label] for label in told], list(told.values()), atol=1e-6
        )
