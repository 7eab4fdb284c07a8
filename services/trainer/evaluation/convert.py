"""Figures to protobuf. Pure: no store, no database, no calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isogloss.v1.comparison_pb2 import Comparison
from isogloss.v1.evaluation_pb2 import (
    Advice as AdviceProto,
)
from isogloss.v1.evaluation_pb2 import (
    Calibration as CalibrationProto,
)
from isogloss.v1.evaluation_pb2 import (
    ClassificationMetrics,
    Evaluation,
    Improvement,
    LabelMetrics,
    LabelSuspicion,
    UnknownLabel,
)
from isogloss.v1.evaluation_pb2 import ConfusionCell as ConfusionCellProto
from isogloss.v1.evaluation_pb2 import Coverage as CoverageProto
from isogloss.v1.evaluation_pb2 import Cut as CutProto
from isogloss.v1.evaluation_pb2 import Geometry as GeometryProto
from isogloss.v1.evaluation_pb2 import Interval as IntervalProto
from isogloss.v1.evaluation_pb2 import LearningCurve as LearningCurveProto
from isogloss.v1.evaluation_pb2 import WorstError as WorstErrorProto
from isogloss.v1.projection_pb2 import Projection
from services.trainer.evaluation.advice import Advice
from services.trainer.evaluation.assessment import Assessment
from services.trainer.evaluation.geometry import Geometry
from services.trainer.evaluation.learning_curve import LearningCurve
from services.trainer.evaluation.reliability import Calibration
from services.trainer.evaluation.scores import Averages
from services.trainer.evaluation.scoring import Scored, WorstError, ids
from services.trainer.evaluation.significance import Difference, Interval, Spread

_CONFUSION_CELLS = 20_000
# A cell takes at most 24 bytes: 20,000 are 480 kB, and of two models 960 kB, which leaves room for
# 1,000 labels of 100 characters (two times 450 kB) within the 4 MiB of a message.

_UNKNOWN_LABELS = 100
_LABELS_OF_A_ROW = 10
# With several labels a text, 150 rows of twice 10 labels of 512 bytes are at most 1.5 MB, and there
# are no confusions then.


def assessment(found: Assessment, advice: Sequence[Advice]) -> Evaluation:
    """Return what a run tells of its model, without name, dataset, split and time."""
    message = scored(found.tuned, found.labels, found.worst, geometry=found.geometry)
    message.baseline.CopyFrom(metrics(found.baseline))
    message.nearest_neighbors.CopyFrom(metrics(found.neighbours, brief=True))
    message.neighbor_count = found.neighbour_count
    message.baseline_neighbor_agreement = found.baseline_geometry.neighbour_agreement
    message.baseline_geometry.CopyFrom(_geometry(found.baseline_geometry))
    message.improvement.CopyFrom(improvement(found.over_baseline))
    message.improvement_over_neighbors.CopyFrom(improvement(found.over_neighbours))
    message.retention = found.retention
    message.learning_curve.CopyFrom(_curve(found.curve))
    message.cuts.extend(
        CutProto(
            dimension=cut.dimensions,
            accuracy=cut.accuracy,
            neighbor_accuracy=cut.neighbour_accuracy,
        )
        for cut in found.cuts
    )
    message.suspicious_label_count = found.suspicions.total
    message.examined_row_count = found.suspicions.examined
    message.suspicious_labels.extend(
        LabelSuspicion(
            row=error.row,
            labels=_named(error.given, found.labels),
            suggested=_named(error.suggested, found.labels),
            confidence=error.confidence,
        )
        for error in found.suspicions.errors
    )
    message.advice.extend(
        AdviceProto(
            topic=AdviceProto.Topic.Value(f"TOPIC_{piece.topic}"),
            message=piece.message,
            labels=piece.labels,
        )
        for piece in advice
    )
    return message


def scored(
    found: Scored,
    labels: Sequence[str],
    worst: Sequence[WorstError],
    *,
    geometry: Geometry,
    unknown: Mapping[str, int] | None = None,
    left_out: int = 0,
) -> Evaluation:
    """Return what one model scored, without name, dataset, split and time.

    Args:
        found: The figures.
        labels: The model's.
        worst: Rows that it got wrong.
        geometry: How its embedding lays the rows out.
        unknown: Rows with a label that the model does not know, by label.
        left_out: How many rows these are: with several labels a text, one can have two of them.
    """
    unknown = unknown or {}
    frequent = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
    return Evaluation(
        state=Evaluation.STATE_READY,
        row_count=found.evaluation.examples,
        positive_label=found.evaluation.positive_label or "",
        metrics=metrics(found),
        neighbor_agreement=geometry.neighbour_agreement,
        geometry=_geometry(geometry),
        worst_errors=[
            WorstErrorProto(
                row=error.row,
                labels=_named(error.labels, labels),
                predicted=_named(error.given, labels),
                confidence=error.confidence,
            )
            for error in worst
        ],
        unknown_labels=[
            UnknownLabel(label=label, row_count=count)
            for label, count in frequent[:_UNKNOWN_LABELS]
        ],
        unknown_label_row_count=left_out,
    )


def metrics(found: Scored, *, brief: bool = False) -> ClassificationMetrics:
    """Return one set of scores; in brief without single labels and confusions."""
    scores = found.evaluation
    binary = scores.positive_label is not None
    averages = [
        average(ClassificationMetrics.AVERAGING_MACRO, scores.macro),
        average(ClassificationMetrics.AVERAGING_MICRO, scores.micro),
        average(ClassificationMetrics.AVERAGING_WEIGHTED, scores.weighted),
    ]
    headline = Averages(precision=scores.precision, recall=scores.recall, f1=scores.f1)
    if binary:
        averages.insert(0, average(ClassificationMetrics.AVERAGING_BINARY, headline))
    if scores.samples is not None:
        averages.append(average(ClassificationMetrics.AVERAGING_SAMPLES, scores.samples))
    message = ClassificationMetrics(
        headline=(
            ClassificationMetrics.AVERAGING_BINARY
            if binary
            else ClassificationMetrics.AVERAGING_MACRO
        ),
        accuracy=scores.accuracy,
        precision=scores.precision,
        recall=scores.recall,
        f1=scores.f1,
        log_loss=scores.log_loss,
        averages=averages,
        accuracy_interval=interval(found.spread.accuracy),
        f1_interval=interval(found.spread.f1),
        calibration=_calibration(found.calibration),
        coverage=[
            CoverageProto(
                threshold=point.threshold, coverage=point.coverage, accuracy=point.accuracy
            )
            for point in found.coverage
        ],
    )
    if brief:
        return message
    message.labels.extend(
        LabelMetrics(
            label=entry.label,
            precision=entry.precision,
            recall=entry.recall,
            f1=entry.f1,
            support=entry.support,
        )
        for entry in scores.labels
    )
    index = {entry.label: number for number, entry in enumerate(scores.labels)}
    message.confusion.extend(
        ConfusionCellProto(
            actual=index[cell.actual], predicted=index[cell.predicted], count=cell.count
        )
        for cell in sorted(scores.confusion, key=lambda cell: -cell.count)[:_CONFUSION_CELLS]
    )
    return message


def average(
    averaging: ClassificationMetrics.Averaging.ValueType, scores: Averages
) -> ClassificationMetrics.Average:
    """Return precision, recall and F1 under one way of averaging."""
    return ClassificationMetrics.Average(
        averaging=averaging, precision=scores.precision, recall=scores.recall, f1=scores.f1
    )


def interval(found: Interval) -> IntervalProto:
    """Return a figure with its uncertainty."""
    return IntervalProto(value=found.value, low=found.low, high=found.high)


def improvement(found: Difference) -> Improvement:
    """Return what the second of two models has over the first."""
    return Improvement(
        accuracy=interval(found.accuracy),
        f1=interval(found.f1),
        accuracy_p_value=found.accuracy_p_value,
        f1_p_value=found.f1_p_value,
        both_right_count=found.both,
        gained_count=found.only_second,
        lost_count=found.only_first,
        both_wrong_count=found.neither,
    )


def comparison_score(model: str, evaluation: str, found: Spread) -> Comparison.Score:
    """Return what one of several models scored; the names are full ones."""
    return Comparison.Score(
        model=model,
        evaluation=evaluation,
        accuracy=interval(found.accuracy),
        f1=interval(found.f1),
    )


def projection(found: Assessment) -> Projection:
    """Return the map, without name, split and texts."""
    laid_out = found.projection
    message = Projection(
        labels=found.labels,
        before_trust=laid_out.before_trust,
        after_trust=laid_out.after_trust,
    )
    for row, before, after in zip(laid_out.rows, laid_out.before, laid_out.after, strict=True):
        labels = ids(found.tuned.decisions, row)
        message.points.add(
            row=int(row),
            labels=labels.labels[:_LABELS_OF_A_ROW],
            predicted=labels.given[:_LABELS_OF_A_ROW],
            before_x=float(before[0]),
            before_y=float(before[1]),
            after_x=float(after[0]),
            after_y=float(after[1]),
        )
    return message


def _named(ids: Sequence[int], labels: Sequence[str]) -> list[str]:
    return [labels[label] for label in ids[:_LABELS_OF_A_ROW]]


def _calibration(found: Calibration) -> CalibrationProto:
    return CalibrationProto(
        error=found.error,
        noise_floor=found.noise_floor,
        noise_limit=found.noise_limit,
        bins=[
            CalibrationProto.Bin(
                count=part.count, confidence=part.confidence, accuracy=part.accuracy
            )
            for part in found.bins
        ],
    )


def _geometry(found: Geometry) -> GeometryProto:
    return GeometryProto(neighbor_accuracy=found.neighbour_accuracy, silhouette=found.silhouette)


def _curve(found: LearningCurve) -> LearningCurveProto:
    return LearningCurveProto(
        points=[
            LearningCurveProto.Point(row_count=point.rows, accuracy=point.accuracy, f1=point.f1)
            for point in found.points
        ],
        accuracy_per_doubling=found.doubling,
        label_f1_per_doubling=found.label_doubling,
    )
