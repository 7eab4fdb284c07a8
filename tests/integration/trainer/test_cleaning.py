"""One cleaning all the way: declared with a dataset, learnt with, and applied to what is asked."""

from __future__ import annotations

import grpc

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from isogloss.v1 import inference_service_pb2
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub
from isogloss.v1.model_pb2 import Model
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common import layout
from services.common.manifests import read_manifest
from services.common.server import running_server
from services.inference.__main__ import build as build_inference
from services.inference.devices import DeviceWish
from services.inference.settings import InferenceSettings
from services.ingest.__main__ import build as build_ingest
from services.ingest.settings import IngestSettings
from tests.integration.inference.serving import assert_alike
from tests.integration.ingest.calls import upload
from tests.integration.trainer.calls import Suite, request, running_trainer, watch
from tests.messages import ROWS

CLEANING = Cleaning(strip_html=True, urls=Cleaning.REPLACEMENT_MASK)
DIRTY = ["<p>My order is <b>late</b></p>", "great &amp; fast\u00a0https://x.de/y", "help"]
CLEAN = ["My order is late", "great & fast [URL]", "help"]


async def test_a_text_and_its_cleaned_form_have_the_same_vector(suite: Suite) -> None:
    data = suite.directory
    rows = "".join(
        f'"<p>{text}</p> see https://x.de/{number}",{label}\n'
        for number, (text, label) in enumerate(ROWS)
    )
    ingest = build_ingest(
        IngestSettings(address="127.0.0.1:0", data_directory=data, poll_seconds=0.1)
    )
    async with (
        running_server(ingest) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        dataset = await upload(
            DatasetServiceStub(channel),
            {SPLIT_TRAIN: f"text,label\n{rows}".encode()},
            cleaning=CLEANING,
        )
    async with running_trainer(suite.settings()) as trainer:
        model = await trainer.CreateModel(request(dataset=dataset.name))
        last = (await watch(trainer, model.name))[-1].model
    inference = build_inference(
        InferenceSettings(address="127.0.0.1:0", data_directory=data, device=DeviceWish.CPU)
    )
    async with (
        running_server(inference) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = InferenceServiceStub(channel)
        dirty, clean = [
            list(
                (
                    await stub.Embed(
                        inference_service_pb2.EmbedRequest(model=model.name, texts=texts)
                    )
                ).results
            )
            for texts in (DIRTY, CLEAN)
        ]

    manifest = read_manifest(
        suite.store,
        layout.dataset_manifest("default", dataset.name.removeprefix("datasets/")),
        DatasetManifest,
    )
    assert dataset.state == Dataset.STATE_READY
    assert {count.code for count in dataset.report.findings} >= {"cleaned"}
    assert manifest.options.cleaning == CLEANING
    assert last.state == Model.STATE_READY
    assert_alike(dirty, clean)
