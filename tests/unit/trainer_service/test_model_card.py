from __future__ import annotations

import pytest

from isogloss.storage.v1.model_manifest_pb2 import (
    BaseInfo,
    Lineage,
    ModelManifest,
    TextInput,
    Variant,
)
from isogloss.storage.v1.stored_file_pb2 import StoredFile
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.evaluation_pb2 import (
    Advice,
    ClassificationMetrics,
    Evaluation,
    LabelMetrics,
    WorstError,
)
from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.precision_pb2 import Precision
from isogloss.v1.split_pb2 import Split
from services.trainer import model_card


@pytest.fixture
def manifest() -> ModelManifest:
    found = ModelManifest(
        name="models/tone-aaaaaa",
        display_name="Tone | of *voice*",
        dimension=384,
        input=TextInput(max_tokens=256, prefix="query: ", cleaning=Cleaning(strip_html=True)),
        variants=[
            Variant(
                precision=Precision.PRECISION_EXACT,
                graph=StoredFile(size=90_600_000),
                min_cosine=1.0,
                speedup=1.0,
            ),
            Variant(
                precision=Precision.PRECISION_QUANTIZED,
                graph=StoredFile(size=70_100_000),
                min_cosine=0.9918,
                accuracy_loss=0.0025,
                speedup=1.54,
            ),
        ],
        label_mode=LabelMode.LABEL_MODE_SINGLE,
        labels=["angry", "happy"],
        lineage=Lineage(
            base_model="baseModels/small",
            dataset="datasets/tone-bbbbbb",
            hyperparameters=Hyperparameters(epochs=4, learning_rate=1e-4),
            versions={"torch": "2.13"},
        ),
        base=BaseInfo(parameter_count=22_700_000, license="Apache-2.0"),
    )
    found.create_time.FromJsonString("2026-11-24T10:00:00Z")
    return found


@pytest.fixture
def evaluation() -> Evaluation:
    return Evaluation(
        split=Split.SPLIT_TEST,
        row_count=150,
        metrics=ClassificationMetrics(
            headline=ClassificationMetrics.AVERAGING_MACRO,
            accuracy=0.8,
            f1=0.79,
            labels=[
                LabelMetrics(label="angry", f1=0.9, support=70),
                LabelMetrics(label="happy", f1=0.7, support=80),
            ],
        ),
        baseline=ClassificationMetrics(accuracy=0.7, f1=0.69),
        advice=[Advice(message="More rows of happy would help.")],
        worst_errors=[WorstError(text="a secret of the dataset")],
    )


def test_tells_what_it_is_how_good_it_is_and_how_it_came_about(
    manifest: ModelManifest, evaluation: Evaluation
) -> None:
    card = model_card.write(manifest, evaluation)

    assert card.startswith("# Tone \\| of \\*voice\\*\n")
    for line in (
        (
            "`models/tone-aaaaaa`, fine-tuned from `baseModels/small` on `datasets/tone-bbbbbb`, "
            "2026-11-24. It embeds texts in 384 dimensions and classifies them into 2 labels."
        ),
        "A text has one label.",
        "| accuracy | 0.8000 | 0.7000 |",
        "| F1, macro | 0.7900 | 0.6900 |",
        "| EXACT | 90.6 | 1.0000 |  |  |",
        "| QUANTIZED | 70.1 | 0.9918 | -0.2 points | 1.5 times |",
        "- cleaned as its dataset was: strip_html",
        "- with `query: ` before every text",
        "| licence of the base | Apache-2.0 |",
        "| `learning_rate` | 0.0001 |",
        "| torch | 2.13 |",
        "- More rows of happy would help.",
    ):
        assert line in card.splitlines()
    # The hardest label stands first.
    assert card.index("| happy |") < card.index("| angry |")


def test_does_not_vouch_for_what_its_start_learnt_from(
    manifest: ModelManifest, evaluation: Evaluation
) -> None:
    assert "test rows, of which none was learnt from." in model_card.write(manifest, evaluation)
    manifest.lineage.base_model = "models/tone-cccccc"

    card = model_card.write(manifest, evaluation)

    assert "none was learnt from" not in card
    assert "`models/tone-cccccc`, from which it started, may have." in card


def test_tells_what_is_left_of_cut_embeddings(
    manifest: ModelManifest, evaluation: Evaluation
) -> None:
    assert "may be cut" not in model_card.write(manifest, evaluation)
    manifest.lineage.hyperparameters.matryoshka_dimensions.extend([64, 128])
    evaluation.cuts.add(dimension=64, accuracy=0.75, neighbor_accuracy=0.7)

    lines = model_card.write(manifest, evaluation).splitlines()

    assert "| 64 | 0.7500 | 0.7000 |" in lines
    assert "| `matryoshka_dimensions` | [64, 128] |" in lines


def test_tells_how_near_texts_come_where_rows_were_held_out(
    manifest: ModelManifest, evaluation: Evaluation
) -> None:
    manifest.neighbours.rows = 770
    assert "It keeps" not in model_card.write(manifest, evaluation)
    manifest.neighbours.held_out_cosines.extend(0.5 + number / 250 for number in range(101))

    card = model_card.write(manifest, evaluation)

    assert "It keeps 770 of its training rows" in card
    assert "95 % come nearer to one than a cosine of 0.52." in card


def test_holds_no_text_of_the_dataset(manifest: ModelManifest, evaluation: Evaluation) -> None:
    assert "secret" not in model_card.write(manifest, evaluation)


def test_tells_from_where_on_each_of_several_labels_is_given(
    manifest: ModelManifest, evaluation: Evaluation
) -> None:
    manifest.label_mode = LabelMode.LABEL_MODE_MULTI
    manifest.thresholds.extend([0.35, 0.5])

    card = model_card.write(manifest, evaluation)

    assert "A text can have several labels, or none." in card
    assert "- angry, given from 0.35 on" in card


def test_names_the_first_of_many_labels(manifest: ModelManifest, evaluation: Evaluation) -> None:
    del manifest.labels[:]
    manifest.labels.extend(f"label {number}" for number in range(60))

    card = model_card.write(manifest, evaluation)

    assert "- label 49\n- and 10 more\n" in card
