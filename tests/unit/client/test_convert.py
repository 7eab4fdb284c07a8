from __future__ import annotations

from enum import StrEnum

import grpc
import pytest
from google.protobuf import any_pb2
from google.protobuf.descriptor import EnumDescriptor
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from isogloss import convert as model_convert
from isogloss import dataset_convert as convert
from isogloss import (
    dataset_options,
    dataset_report,
    datasets,
    errors,
    evaluations,
    inference_options,
    models,
)
from isogloss.api.streams import passing
from isogloss.status import error_from_rpc, error_from_status
from isogloss.v1 import (
    dataset_pb2,
    evaluation_pb2,
    finding_pb2,
    inference_service_pb2,
    input_type_pb2,
    label_mode_pb2,
    model_pb2,
    precision_pb2,
    split_pb2,
    vector_pb2,
)

ENUMS: list[tuple[type[StrEnum], EnumDescriptor]] = [
    (datasets.DatasetState, dataset_pb2.Dataset.State.DESCRIPTOR),
    (dataset_report.Severity, finding_pb2.Finding.Severity.DESCRIPTOR),
    (dataset_report.Split, split_pb2.Split.DESCRIPTOR),
    (models.ModelState, model_pb2.Model.State.DESCRIPTOR),
    (models.Precision, precision_pb2.Precision.DESCRIPTOR),
    (evaluations.Averaging, evaluation_pb2.ClassificationMetrics.Averaging.DESCRIPTOR),
    (evaluations.EvaluationState, evaluation_pb2.Evaluation.State.DESCRIPTOR),
    (evaluations.Topic, evaluation_pb2.Advice.Topic.DESCRIPTOR),
    (dataset_report.LabelMode, label_mode_pb2.LabelMode.DESCRIPTOR),
    (inference_options.Truncation, inference_service_pb2.Truncation.DESCRIPTOR),
    (inference_options.Priority, inference_service_pb2.Priority.DESCRIPTOR),
    (inference_options.VectorType, vector_pb2.VectorType.DESCRIPTOR),
    (inference_options.InputType, input_type_pb2.InputType.DESCRIPTOR),
]


@pytest.mark.parametrize(
    ("kind", "descriptor"),
    ENUMS,
    ids=lambda value: value.__name__[:12] if isinstance(value, type) else "",
)
def test_our_enums_have_every_value_of_the_contract(
    kind: type[StrEnum], descriptor: EnumDescriptor
) -> None:
    spoken = {value.name for value in descriptor.values if value.number}

    assert {member.name for member in kind} - {"UNKNOWN"} == {
        next(m.name for m in kind if name.endswith("_" + m.name)) for name in spoken
    }


def test_a_state_that_is_newer_than_the_client_is_unknown() -> None:
    message = dataset_pb2.Dataset()
    message.MergeFromString(b"\x20\x63")  # field 4, state = 99

    assert convert.dataset(message).state is datasets.DatasetState.UNKNOWN


def test_what_is_unset_stays_unset() -> None:
    dataset = convert.dataset(dataset_pb2.Dataset(name="datasets/a"))
    model = model_convert.model(model_pb2.Model(name="models/a"))

    assert dataset.options == dataset_options.DatasetOptions()
    assert (dataset.error, dataset.report, dataset.create_time) == (None, None, None)
    assert model.hyperparameters == models.Hyperparameters()
    assert (model.progress, model.latest_metrics, model.error) == (None, None, None)


@pytest.mark.parametrize(
    "options",
    [
        dataset_options.DatasetOptions(),
        dataset_options.DatasetOptions(
            has_header=False,
            delimiter=";",
            profile="strict",
            validation_share=0.25,
            test_share=0.5,
            seed=0,
        ),
    ],
)
def test_options_come_back_as_they_were_sent(options: dataset_options.DatasetOptions) -> None:
    message = dataset_pb2.Dataset(options=convert.options_to_proto(options))

    assert convert.dataset(message).options == options


def test_hyperparameters_come_back_as_they_were_sent() -> None:
    given = models.Hyperparameters(
        epochs=3, learning_rate=1e-4, batch_size=8, seed=0, matryoshka_dimensions=(64, 128)
    )
    message = model_pb2.Model(hyperparameters=model_convert.hyperparameters_to_proto(given))

    assert model_convert.model(message).hyperparameters == given


def test_what_is_in_the_way_is_a_violation_too() -> None:
    detail = any_pb2.Any()
    detail.Pack(
        error_details_pb2.PreconditionFailure(
            violations=[
                error_details_pb2.PreconditionFailure.Violation(
                    type="DATASET_IN_USE", subject="models/a", description="uses it"
                )
            ]
        )
    )
    code = grpc.StatusCode.FAILED_PRECONDITION.value[0]

    error = error_from_status(status_pb2.Status(code=code, message="m", details=[detail]))

    assert type(error) is errors.FailedPrecondition
    assert error.violations == (
        errors.Violation(field="models/a", description="uses it", reason="DATASET_IN_USE"),
    )


def test_an_error_without_words_still_says_something() -> None:
    error = error_from_status(status_pb2.Status(code=99))

    assert type(error) is errors.ServerError
    assert "UNKNOWN" in error.message


def test_a_stream_that_broke_while_it_was_written_to_can_be_taken_up_again() -> None:
    broken = aio.AioRpcError(
        grpc.StatusCode.INTERNAL, aio.Metadata(), aio.Metadata(), "Internal error from Core"
    )

    assert passing(error_from_rpc(broken))
