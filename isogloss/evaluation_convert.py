"""Messages of evaluations, maps and comparisons to the values of this package."""

from __future__ import annotations

from isogloss import comparisons, dataset_report, evaluations
from isogloss.status import error_from_status
from isogloss.v1 import comparison_pb2, evaluation_pb2, projection_pb2
from isogloss.wire import maybe, member, time


def evaluation(message: evaluation_pb2.Evaluation) -> evaluations.Evaluation:
    """Read an evaluation."""
    has = message.HasField
    return evaluations.Evaluation(
        name=message.name,
        state=member(evaluations.EvaluationState, "state", message),
        error=error_from_status(message.error) if has("error") else None,
        dataset=message.dataset,
        dataset_content_hash=message.dataset_content_hash,
        split=member(dataset_report.Split, "split", message),
        label_mode=member(dataset_report.LabelMode, "label_mode", message),
        row_count=message.row_count,
        positive_label=message.positive_label,
        metrics=_metrics(message.metrics),
        create_time=time(message, "create_time"),
        neighbor_agreement=message.neighbor_agreement,
        geometry=_geometry(message.geometry) if has("geometry") else None,
        worst_errors=tuple(
            evaluations.WorstError(
                row=error.row,
                text=error.text,
                labels=tuple(error.labels),
                predicted=tuple(error.predicted),
                confidence=error.confidence,
            )
            for error in message.worst_errors
        ),
        texts_removed=message.texts_removed,
        advice=tuple(
            evaluations.Advice(
                topic=member(evaluations.Topic, "topic", piece),
                message=piece.message,
                labels=tuple(piece.labels),
            )
            for piece in message.advice
        ),
        unknown_labels={entry.label: entry.row_count for entry in message.unknown_labels},
        unknown_label_row_count=message.unknown_label_row_count,
        baseline=_metrics(message.baseline) if has("baseline") else None,
        baseline_neighbor_agreement=message.baseline_neighbor_agreement,
        nearest_neighbors=_metrics(message.nearest_neighbors) if has("nearest_neighbors") else None,
        neighbor_count=message.neighbor_count,
        improvement=_improvement(message.improvement) if has("improvement") else None,
        improvement_over_neighbors=(
            _improvement(message.improvement_over_neighbors)
            if has("improvement_over_neighbors")
            else None
        ),
        baseline_geometry=(
            _geometry(message.baseline_geometry) if has("baseline_geometry") else None
        ),
        retention=maybe(message, "retention"),
        cuts=tuple(
            evaluations.Cut(
                dimension=cut.dimension,
                accuracy=cut.accuracy,
                neighbor_accuracy=cut.neighbor_accuracy,
            )
            for cut in message.cuts
        ),
        learning_curve=_curve(message) if has("learning_curve") else None,
        suspicious_labels=tuple(
            evaluations.LabelSuspicion(
                row=suspicion.row,
                text=suspicion.text,
                labels=tuple(suspicion.labels),
                suggested=tuple(suspicion.suggested),
                confidence=suspicion.confidence,
            )
            for suspicion in message.suspicious_labels
        ),
        suspicious_label_count=message.suspicious_label_count,
        examined_row_count=message.examined_row_count,
    )


def projection(message: projection_pb2.Projection) -> comparisons.Projection:
    """Read a map."""
    names = tuple(message.labels)
    return comparisons.Projection(
        name=message.name,
        split=member(dataset_report.Split, "split", message),
        labels=names,
        points=tuple(
            comparisons.ProjectionPoint(
                row=point.row,
                text=point.text,
                labels=tuple(names[label] for label in point.labels),
                predicted=tuple(names[label] for label in point.predicted),
                before=(point.before_x, point.before_y),
                after=(point.after_x, point.after_y),
            )
            for point in message.points
        ),
        before_trust=message.before_trust,
        after_trust=message.after_trust,
        texts_removed=message.texts_removed,
    )


def comparison(message: comparison_pb2.Comparison) -> comparisons.Comparison:
    """Read a comparison."""
    return comparisons.Comparison(
        dataset=message.dataset,
        split=member(dataset_report.Split, "split", message),
        row_count=message.row_count,
        left_out_count=message.left_out_count,
        scores=tuple(
            comparisons.ComparisonScore(
                model=score.model,
                evaluation=score.evaluation,
                accuracy=_interval(score.accuracy),
                f1=_interval(score.f1),
            )
            for score in message.scores
        ),
        pairs=tuple(
            comparisons.ComparisonPair(
                first=pair.first,
                second=pair.second,
                improvement=_improvement(pair.improvement),
            )
            for pair in message.pairs
        ),
    )


def _metrics(message: evaluation_pb2.ClassificationMetrics) -> evaluations.ClassificationMetrics:
    names = [label.label for label in message.labels]
    has = message.HasField
    return evaluations.ClassificationMetrics(
        headline=member(evaluations.Averaging, "headline", message),
        accuracy=message.accuracy,
        precision=message.precision,
        recall=message.recall,
        f1=message.f1,
        log_loss=message.log_loss,
        averages=tuple(
            evaluations.Average(
                averaging=member(evaluations.Averaging, "averaging", average),
                precision=average.precision,
                recall=average.recall,
                f1=average.f1,
            )
            for average in message.averages
        ),
        labels=tuple(
            evaluations.LabelMetrics(
                label=label.label,
                precision=label.precision,
                recall=label.recall,
                f1=label.f1,
                support=label.support,
            )
            for label in message.labels
        ),
        confusion={
            (names[cell.actual], names[cell.predicted]): cell.count for cell in message.confusion
        },
        accuracy_interval=(
            _interval(message.accuracy_interval) if has("accuracy_interval") else None
        ),
        f1_interval=_interval(message.f1_interval) if has("f1_interval") else None,
        calibration=_calibration(message.calibration) if has("calibration") else None,
        coverage=tuple(
            evaluations.Coverage(
                threshold=point.threshold, coverage=point.coverage, accuracy=point.accuracy
            )
            for point in message.coverage
        ),
    )


def _interval(message: evaluation_pb2.Interval) -> evaluations.Interval:
    return evaluations.Interval(value=message.value, low=message.low, high=message.high)


def _improvement(message: evaluation_pb2.Improvement) -> evaluations.Improvement:
    return evaluations.Improvement(
        accuracy=_interval(message.accuracy),
        f1=_interval(message.f1),
        accuracy_p_value=message.accuracy_p_value,
        f1_p_value=message.f1_p_value,
        both_right=message.both_right_count,
        gained=message.gained_count,
        lost=message.lost_count,
        both_wrong=message.both_wrong_count,
    )


def _calibration(message: evaluation_pb2.Calibration) -> evaluations.Calibration:
    return evaluations.Calibration(
        error=message.error,
        noise_floor=message.noise_floor,
        noise_limit=message.noise_limit,
        bins=tuple(
            evaluations.CalibrationBin(
                count=part.count, confidence=part.confidence, accuracy=part.accuracy
            )
            for part in message.bins
        ),
    )


def _geometry(message: evaluation_pb2.Geometry) -> evaluations.Geometry:
    return evaluations.Geometry(
        neighbor_accuracy=message.neighbor_accuracy, silhouette=maybe(message, "silhouette")
    )


def _curve(message: evaluation_pb2.Evaluation) -> evaluations.LearningCurve:
    curve = message.learning_curve
    names = [label.label for label in message.metrics.labels]
    return evaluations.LearningCurve(
        points=tuple(
            evaluations.CurvePoint(row_count=point.row_count, accuracy=point.accuracy, f1=point.f1)
            for point in curve.points
        ),
        accuracy_per_doubling=curve.accuracy_per_doubling,
        # A server that is newer may know more of either.
        label_f1_per_doubling=dict(zip(names, curve.label_f1_per_doubling, strict=False)),
    )
