"""The contracts keep the rules that clients in any language rely on (google.aip.dev)."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from google.api import field_behavior_pb2, resource_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

from isogloss.storage.v1 import dataset_manifest_pb2
from isogloss.v1 import dataset_pb2, error_reason_pb2, split_pb2
from services.common.errors import Reason

ROOT = Path(__file__).parents[3]
PACKAGES = ("isogloss/v1", "isogloss/storage/v1")


def descriptors() -> list[FileDescriptor]:
    names = [
        f"{package.replace('/', '.')}.{path.stem}_pb2"
        for package in PACKAGES
        for path in sorted((ROOT / "protos" / package).glob("*.proto"))
    ]
    return [importlib.import_module(name).DESCRIPTOR for name in names]


FILES = descriptors()
SERVICES = [service for file in FILES for service in file.services_by_name.values()]
METHODS = [method for service in SERVICES for method in service.methods]


def nested(message: Descriptor) -> list[Descriptor]:
    return [message, *(deep for inner in message.nested_types for deep in nested(inner))]


MESSAGES = [
    message
    for file in FILES
    for top in file.message_types_by_name.values()
    for message in nested(top)
    if not message.GetOptions().map_entry
]
ENUMS: list[EnumDescriptor] = [enum for file in FILES for enum in file.enum_types_by_name.values()]
ENUMS += [enum for message in MESSAGES for enum in message.enum_types]


def field(message: Descriptor, name: str) -> FieldDescriptor | None:
    found = message.fields_by_name.get(name)
    return found if isinstance(found, FieldDescriptor) else None


def behaviors(checked: FieldDescriptor) -> list[int]:
    return list(checked.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def test_there_is_something_to_check() -> None:
    assert {service.name for service in SERVICES} == {
        "AliasService",
        "DatasetService",
        "ModelService",
        "InferenceService",
    }
    assert len(MESSAGES) > 50


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_names_its_packages_in_other_languages(file: FileDescriptor) -> None:
    options = file.GetOptions()

    assert options.go_package.startswith("isogloss.dev/gen/go/isogloss/")
    assert options.java_package.startswith("dev.isogloss.")
    assert options.java_multiple_files
    assert options.java_outer_classname.endswith("Proto")
    assert options.csharp_namespace.startswith("Isogloss.")


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.full_name)
def test_zero_means_unspecified(enum: EnumDescriptor) -> None:
    assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")


@pytest.mark.parametrize(
    "method", [m for m in METHODS if m.name.startswith("List")], ids=lambda m: m.name
)
def test_lists_are_paged(method: MethodDescriptor) -> None:
    request, response = method.input_type, method.output_type

    assert field(request, "page_size") is not None
    assert field(request, "page_token") is not None
    assert field(response, "next_page_token") is not None
    assert response.fields[0].number == 1
    assert response.fields[0].is_repeated


@pytest.mark.parametrize(
    "method", [m for m in METHODS if m.name.startswith("Create")], ids=lambda m: m.name
)
def test_creation_can_be_repeated_and_tried_out(method: MethodDescriptor) -> None:
    assert field(method.input_type, "request_id") is not None
    assert field(method.input_type, "validate_only") is not None


@pytest.mark.parametrize(
    "message",
    [m for m in MESSAGES if m.GetOptions().HasExtension(resource_pb2.resource)],
    ids=lambda m: m.name,
)
def test_resources_are_named_by_their_full_path(message: Descriptor) -> None:
    resource = message.GetOptions().Extensions[resource_pb2.resource]
    name = field(message, "name")

    assert name is not None
    assert name.number == 1
    assert field_behavior_pb2.IDENTIFIER in behaviors(name)
    assert re.match(r"^[a-z][A-Za-z]+/\{[a-z_]+\}", resource.pattern[0])


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.full_name)
def test_no_two_methods_share_a_request(method: MethodDescriptor) -> None:
    assert method.input_type.name == f"{method.name}Request"


def test_states_are_never_the_callers_to_set() -> None:
    states = [
        message.fields_by_name["state"]
        for message in MESSAGES
        if message.name in {"Dataset", "Model"}
    ]

    assert len(states) == 2
    assert all(field_behavior_pb2.OUTPUT_ONLY in behaviors(state) for state in states)


def test_the_error_reasons_of_the_servers_are_the_published_ones() -> None:
    published = {
        name.removeprefix("ERROR_REASON_")
        for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }

    assert published - {"UNSPECIFIED"} == {reason.value for reason in Reason}


def test_manifests_survive_json() -> None:
    manifest = dataset_manifest_pb2.DatasetManifest(
        format_version=1,
        name="datasets/tone-abc234",
        options=dataset_pb2.DatasetOptions(has_header=False),
        labels=["negative", "positive"],
        splits=[dataset_manifest_pb2.SplitFile(split=split_pb2.SPLIT_TRAIN, row_count=2**40)],
    )

    text = json_format.MessageToJson(manifest, preserving_proto_field_name=True)
    again = json_format.Parse(text, dataset_manifest_pb2.DatasetManifest())

    assert again == manifest
    assert again.options.HasField("has_header")
