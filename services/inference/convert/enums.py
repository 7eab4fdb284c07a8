"""The enums of the contract and those of the domain."""

from __future__ import annotations

from collections.abc import Mapping

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import input_type_pb2, label_mode_pb2, precision_pb2, vector_pb2
from services.inference.model import LabelMode, Precision
from services.inference.scheduling.priority import Priority
from services.inference.tokenization import InputType, Truncation
from services.inference.vectors import VectorType

TRUNCATIONS: Mapping[int, Truncation] = {
    pb.TRUNCATION_UNSPECIFIED: Truncation.END,
    pb.TRUNCATION_NONE: Truncation.NONE,
    pb.TRUNCATION_START: Truncation.START,
    pb.TRUNCATION_END: Truncation.END,
}

PRIORITIES: Mapping[int, Priority | None] = {
    pb.PRIORITY_UNSPECIFIED: None,
    pb.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    pb.PRIORITY_BULK: Priority.BULK,
}

PRECISIONS: Mapping[int, Precision] = {
    precision_pb2.PRECISION_UNSPECIFIED: Precision.EXACT,
    precision_pb2.PRECISION_EXACT: Precision.EXACT,
    precision_pb2.PRECISION_QUANTIZED: Precision.QUANTIZED,
}

VECTOR_TYPES: Mapping[int, VectorType] = {
    vector_pb2.VECTOR_TYPE_UNSPECIFIED: VectorType.FLOAT32,
    vector_pb2.VECTOR_TYPE_FLOAT32: VectorType.FLOAT32,
    vector_pb2.VECTOR_TYPE_FLOAT16: VectorType.FLOAT16,
    vector_pb2.VECTOR_TYPE_INT8: VectorType.INT8,
    vector_pb2.VECTOR_TYPE_UINT8: VectorType.UINT8,
    vector_pb2.VECTOR_TYPE_BINARY: VectorType.BINARY,
    vector_pb2.VECTOR_TYPE_UBINARY: VectorType.UBINARY,
}

INPUT_TYPES: Mapping[int, InputType | None] = {
    input_type_pb2.INPUT_TYPE_UNSPECIFIED: None,
    input_type_pb2.INPUT_TYPE_QUERY: InputType.QUERY,
    input_type_pb2.INPUT_TYPE_DOCUMENT: InputType.DOCUMENT,
    input_type_pb2.INPUT_TYPE_CLASSIFICATION: InputType.CLASSIFICATION,
    input_type_pb2.INPUT_TYPE_CLUSTERING: InputType.CLUSTERING,
}

PRECISIONS_OUT = {
    Precision.EXACT: precision_pb2.PRECISION_EXACT,
    Precision.QUANTIZED: precision_pb2.PRECISION_QUANTIZED,
}

LABEL_MODES_OUT = {
    LabelMode.SINGLE: label_mode_pb2.LABEL_MODE_SINGLE,
    LabelMode.MULTI: label_mode_pb2.LABEL_MODE_MULTI,
}

VECTOR_TYPES_OUT = {
    VectorType.FLOAT32: vector_pb2.VECTOR_TYPE_FLOAT32,
    VectorType.FLOAT16: vector_pb2.VECTOR_TYPE_FLOAT16,
    VectorType.INT8: vector_pb2.VECTOR_TYPE_INT8,
    VectorType.UINT8: vector_pb2.VECTOR_TYPE_UINT8,
    VectorType.BINARY: vector_pb2.VECTOR_TYPE_BINARY,
    VectorType.UBINARY: vector_pb2.VECTOR_TYPE_UBINARY,
}
