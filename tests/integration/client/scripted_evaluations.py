"""The calls on evaluations, maps and comparisons as a script of the test plays them."""

from __future__ import annotations

from google.protobuf import empty_pb2

from isogloss.v1 import (
    comparison_pb2,
    evaluation_pb2,
    model_card_pb2,
    projection_pb2,
    split_pb2,
)
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.evaluation_pb2 import Advice, Evaluation, Improvement, Interval
from tests.integration.client.answers import Context
from tests.integration.client.scripted_datasets import Recorder

FURTHER = "models/tone-xyz567/evaluations/aaaabbbbcccc"


def improvement(value: float) -> Improvement:
    """Return a gain with a tenth of a point on either side."""
    interval = Interval(value=value, low=value - 0.001, high=value + 0.001)
    return Improvement(
        accuracy=interval,
        f1=interval,
        accuracy_p_value=0.004,
        f1_p_value=0.01,
        both_right_count=80,
        gained_count=12,
        lost_count=3,
        both_wrong_count=5,
    )


def whole_evaluation(name: str) -> Evaluation:
    """Return an evaluation of two labels in which everything is set."""
    message = Evaluation(
        name=name,
        state=Evaluation.STATE_READY,
        dataset="datasets/d",
        split=split_pb2.SPLIT_TEST,
        row_count=100,
        neighbor_agreement=0.9,
        retention=0.75,
        neighbor_count=5,
        suspicious_label_count=7,
        examined_row_count=300,
        advice=[Advice(topic=Advice.TOPIC_MORE_ROWS, message="More rows [of a] would help.")],
    )
    for metrics, accuracy in (
        (message.metrics, 0.92),
        (message.baseline, 0.83),
        (message.nearest_neighbors, 0.8),
    ):
        metrics.accuracy = metrics.f1 = accuracy
        metrics.accuracy_interval.CopyFrom(Interval(value=accuracy, low=0.1, high=0.99))
    for metrics in (message.metrics, message.baseline):
        metrics.labels.add(label="good", f1=0.95, support=60)
        metrics.labels.add(label="bad", f1=0.7, support=40)
        metrics.confusion.add(actual=0, predicted=0, count=57)
        metrics.confusion.add(actual=1, predicted=1, count=35)
        metrics.confusion.add(actual=1, predicted=0, count=5)
        metrics.confusion.add(actual=0, predicted=1, count=3)
    calibration = message.metrics.calibration
    calibration.error, calibration.noise_floor, calibration.noise_limit = 0.08, 0.03, 0.05
    calibration.bins.add(count=50, confidence=0.7, accuracy=0.6)
    message.metrics.coverage.add(threshold=0.9, coverage=0.6, accuracy=0.98)
    message.improvement.CopyFrom(improvement(0.09))
    message.geometry.neighbor_accuracy = 0.9
    message.geometry.silhouette = 0.4
    message.baseline_geometry.neighbor_accuracy = 0.8
    message.baseline_geometry.silhouette = 0.2
    message.learning_curve.points.add(row_count=300, accuracy=0.83, f1=0.82)
    message.learning_curve.label_f1_per_doubling.extend([0.01, 0.06])
    message.worst_errors.add(
        row=4, text="late [again]", labels=["bad"], predicted=["good"], confidence=0.97
    )
    message.suspicious_labels.add(
        row=8, text="never again", labels=["good"], suggested=["bad"], confidence=0.02
    )
    return message


class ScriptedEvaluations(Recorder):
    """A model with its own evaluation and one more, which is READY when it is asked for again."""

    def __init__(self) -> None:
        """Begin with them."""
        super().__init__()
        self.evaluation = Evaluation(name="models/tone-xyz567/evaluation")
        self.further = [Evaluation(name=FURTHER, state=Evaluation.STATE_RUNNING)]
        self.projection = projection_pb2.Projection(
            name="models/tone-xyz567/projection", labels=["good", "bad"], before_trust=0.9
        )
        self.projection.points.add(
            row=3, text="<b>it's late</b>", labels=[1], predicted=[0], before_x=1.0, after_y=-1.0
        )

    def GetEvaluation(self, request: pb.GetEvaluationRequest, context: Context) -> Evaluation:  # noqa: N802
        self._asked("GetEvaluation", request, context)
        if request.name.endswith("/evaluation"):
            return self.evaluation
        return self.further.pop(0) if len(self.further) > 1 else self.further[0]

    def ListEvaluations(  # noqa: N802
        self, request: pb.ListEvaluationsRequest, context: Context
    ) -> pb.ListEvaluationsResponse:
        self._asked("ListEvaluations", request, context)
        last = request.page_token == "more"  # noqa: S105 (a page)
        return pb.ListEvaluationsResponse(
            evaluations=self.further[-1:], next_page_token="" if last else "more"
        )

    def DeleteEvaluation(  # noqa: N802
        self, request: pb.DeleteEvaluationRequest, context: Context
    ) -> empty_pb2.Empty:
        self._asked("DeleteEvaluation", request, context)
        return empty_pb2.Empty()

    def EvaluateModel(self, request: pb.EvaluateModelRequest, context: Context) -> Evaluation:  # noqa: N802
        self._asked("EvaluateModel", request, context)
        return evaluation_pb2.Evaluation(name=FURTHER, state=Evaluation.STATE_QUEUED)

    def GetProjection(  # noqa: N802
        self, request: pb.GetProjectionRequest, context: Context
    ) -> projection_pb2.Projection:
        self._asked("GetProjection", request, context)
        return self.projection

    def GetModelCard(  # noqa: N802
        self, request: pb.GetModelCardRequest, context: Context
    ) -> model_card_pb2.ModelCard:
        self._asked("GetModelCard", request, context)
        return model_card_pb2.ModelCard(name=request.name, markdown="# Tone\n\n- \x1b[2Jgood\n")

    def CompareModels(  # noqa: N802
        self, request: pb.CompareModelsRequest, context: Context
    ) -> comparison_pb2.Comparison:
        self._asked("CompareModels", request, context)
        interval = Interval(value=0.9, low=0.88, high=0.92)
        comparison = comparison_pb2.Comparison(
            dataset="datasets/d", split=split_pb2.SPLIT_TEST, row_count=100, left_out_count=2
        )
        for model in request.models:
            comparison.scores.add(model=model, accuracy=interval, f1=interval)
        comparison.pairs.add(
            first=request.models[0], second=request.models[1], improvement=improvement(0.09)
        )
        return comparison
