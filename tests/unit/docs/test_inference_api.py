"""`docs/inference-api.md` says what the contract and the code do."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from isogloss import Client, VectorType
from isogloss.cli.progress import MANY_TEXTS
from isogloss.v1 import inference_service_pb2 as pb
from services.inference.limits import MAX_TEXT_BYTES, MAX_TEXTS
from services.inference.processing import BOUNDS

PAGE = (Path(__file__).parents[3] / "docs" / "inference-api.md").read_text(encoding="utf-8")


def test_it_has_every_method_and_no_other() -> None:
    named = set(re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE))
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["InferenceService"].methods}

    assert methods <= named


def test_every_option_that_it_names_exists() -> None:
    requests = (pb.EmbedRequest, pb.ClassifyRequest, pb.TokenizeRequest)
    fields = {name for request in requests for name in request.DESCRIPTOR.fields_by_name}
    answers = (pb.EmbedResponse, pb.Classification, pb.EmbedResult, pb.TokenizeResult)
    fields |= {name for answer in answers for name in answer.DESCRIPTOR.fields_by_name}
    spoken = set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE))
    client = {name for name, _ in inspect.getmembers(Client)}

    assert spoken - fields - client == set()
    for vector_type in VectorType:
        assert vector_type.name in PAGE


def test_its_limits_are_the_servers() -> None:
    assert f"1 to {MAX_TEXTS} texts of at most {MAX_TEXT_BYTES // 1024} KiB" in PAGE
    assert f"{BOUNDS.requests} requests or {BOUNDS.texts:,} texts" in PAGE
    assert f"from {MANY_TEXTS} texts on" in PAGE
