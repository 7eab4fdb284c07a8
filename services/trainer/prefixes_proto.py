"""What a base puts before texts of a type, for manifests."""

from __future__ import annotations

from collections.abc import Mapping

from isogloss.storage.v1.model_manifest_pb2 import TypedPrefix
from isogloss.v1.input_type_pb2 import InputType


def typed_prefixes_to_proto(prefixes: Mapping[str, str]) -> list[TypedPrefix]:
    """Return `BaseEncoder.typed_prefixes` as a manifest has it."""
    return [
        TypedPrefix(input_type=InputType.Value(f"INPUT_TYPE_{name.upper()}"), prefix=prefix)
        for name, prefix in prefixes.items()
    ]
