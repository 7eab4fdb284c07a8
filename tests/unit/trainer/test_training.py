from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from services.trainer.base_import import BaseEncoder, read_base
from services.trainer.encoder import collate, embed, load_encoder
from services.trainer.evaluation import evaluate, neighbour_share
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.learning.listening import Cancelled, Diverged, Progress, StepMetrics
from services.trainer.recipe import Hyperparameters, plan
from services.trainer.tokenize import Tokenizer
from services.trainer.training import TrainedModel, fit_baseline, shape_of, train
from tests.tiny_base import MAX_TOKENS, VOCABULARY
from tests.unit.trainer.conftest import messages

_LABELS = ("bad", "good")
# The tiny base is random: it needs a higher rate than one that has learnt a language.
_QUICK = Hyperparameters(epochs=10, learning_rate=1e-3, batch_size=16, seed=1)


class _Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.progress: list[Progress] = []
        self.metrics: list[StepMetrics] = []

    def on_progress(self, progress: Progress) -> None:
        self.progress.append(progress)

    def on_metrics(self, metrics: StepMetrics) -> None:
        self.metrics.append(metrics)


def _train(
    base: BaseEncoder,
    rows: LabelledTexts,
    held_out: LabelledTexts | None = None,
    notes: _Notes | None = None,
    hyperparameters: Hyperparameters = _QUICK,
) -> TrainedModel:
    return train(
        base=base,
        labels=_LABELS,
        train=rows,
        validation=held_out,
        positive_label="good",
        hyperparameters=hyperparameters,
        listener=notes or _Notes(),
        should_stop=lambda: False,
        threads=1,
    )


@pytest.fixture(scope="module")
def notes() -> _Notes:
    return _Notes()


@pytest.fixture(scope="module")
def model(
    base: BaseEncoder, learnt_from: LabelledTexts, held_out: LabelledTexts, notes: _Notes
) -> TrainedModel:
    return _train(base, learnt_from, held_out, notes)


def test_moves_texts_of_one_label_together(model: TrainedModel, held_out: LabelledTexts) -> None:
    label_ids = np.asarray(held_out.label_ids)

    before = neighbour_share(model.baseline.embed(held_out.texts), label_ids)
    after = neighbour_share(model.embed(held_out.texts), label_ids)

    assert after > before + 0.1
    assert (model.predict(held_out.texts).argmax(axis=1) == label_ids).mean() > 0.95


def test_begins_with_the_untrained_baseline_and_measures_ten_times_more(
    model: TrainedModel, held_out: LabelledTexts, notes: _Notes
) -> None:
    baseline = evaluate(
        probabilities=model.baseline.predict(held_out.texts),
        label_ids=np.asarray(held_out.label_ids),
        labels=_LABELS,
        positive_label="good",
    )

    assert [point.step for point in notes.metrics] == [5 * number for number in range(11)]
    first, last = notes.metrics[0], notes.metrics[-1]
    assert (first.accuracy, first.f1) == (baseline.accuracy, baseline.f1)
    assert first.loss == pytest.approx(baseline.log_loss, rel=1e-4)
    assert last.loss < first.loss


def test_the_last_measurement_is_of_the_model_that_is_returned(
    model: TrainedModel, held_out: LabelledTexts, notes: _Notes
) -> None:
    scores = evaluate(
        probabilities=model.head.probabilities(model.embed(held_out.texts)),
        label_ids=np.asarray(held_out.label_ids),
        labels=_LABELS,
        positive_label="good",
    )

    assert notes.metrics[-1].loss == pytest.approx(scores.log_loss, rel=1e-4)


@pytest.mark.usefixtures("model")
def test_tells_every_step(notes: _Notes) -> None:
    steps = notes.progress[-1].total_steps
    # 80 rows in batches of 16, and a fold of 16 rows held out of the others.
    assert steps == 10 * 5 + 10 * 4
    assert [told.step for told in notes.progress] == list(range(steps + 1))
    assert notes.progress[0].eta_seconds is None
    assert notes.progress[-1].eta_seconds == 0
    assert notes.progress[-1].epoch == notes.progress[-1].epochs == 10


def test_measuring_does_not_change_what_is_learnt(
    base: BaseEncoder, learnt_from: LabelledTexts, model: TrainedModel
) -> None:
    again = _train(base, learnt_from)

    assert np.array_equal(again.embed(["the box was late"]), model.embed(["the box was late"]))


def test_the_same_seed_gives_the_same_model(
    base: BaseEncoder, learnt_from: LabelledTexts, model: TrainedModel
) -> None:
    again = _train(base, learnt_from)

    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, again.encoder.state_dict()[name]), name
    assert np.array_equal(again.head.weight, model.head.weight)
    assert again.temperature == model.temperature


def test_another_seed_gives_another_model(
    base: BaseEncoder, learnt_from: LabelledTexts, model: TrainedModel
) -> None:
    other = _train(
        base, learnt_from, hyperparameters=Hyperparameters(epochs=1, batch_size=16, seed=2)
    )

    assert not np.array_equal(other.head.weight, model.head.weight)


def test_everything_learns_but_word_vectors_and_pooler(
    base: BaseEncoder, model: TrainedModel
) -> None:
    before = load_encoder(base).state_dict()

    same = {
        name
        for name, tensor in model.encoder.state_dict().items()
        if torch.equal(tensor, before[name])
    }

    assert same == {
        "backbone.embeddings.word_embeddings.weight",
        "backbone.pooler.dense.weight",
        "backbone.pooler.dense.bias",
    }


def test_rows_are_cut_off_where_there_are_many_and_all_are_learnt_where_there_are_few(
    base: BaseEncoder, learnt_from: LabelledTexts, model: TrainedModel
) -> None:
    times = 15
    many = LabelledTexts(
        texts=[f"{text} {copy}" for copy in range(times) for text in learnt_from.texts],
        label_ids=[*learnt_from.label_ids] * times,
    )

    cut = _train(base, many, hyperparameters=Hyperparameters(max_steps=2))

    assert model.dev is None
    assert model.temperature != 1.0
    assert cut.dev is not None
    assert len(cut.dev.texts) == 120
    assert cut.temperature != 1.0


def test_nothing_is_chosen_where_no_fold_can_be_held_out(
    base: BaseEncoder, learnt_from: LabelledTexts
) -> None:
    alike = LabelledTexts(texts=learnt_from.texts, label_ids=learnt_from.label_ids, groups=[7] * 80)

    model = _train(base, alike, hyperparameters=Hyperparameters(max_steps=1))

    assert model.temperature == 1.0


def test_a_text_can_have_several_labels(base: BaseEncoder) -> None:
    known = messages(0, 160)
    again = [" again" in text for text in known.texts]
    sets = [
        tuple(
            label
            for label, given in enumerate((known.label_ids[row] == 1, again[row], row in {3, 7}))
            if given
        )
        for row in range(160)
    ]
    rows = LabelledTexts(texts=known.texts[:120], label_sets=sets[:120])
    unseen = LabelledTexts(texts=known.texts[120:], label_sets=sets[120:])
    notes = _Notes()

    model = train(
        base=base,
        labels=("good", "again", "rare"),
        train=rows,
        validation=unseen,
        positive_label=None,
        hyperparameters=_QUICK,
        listener=notes,
        should_stop=lambda: False,
        threads=1,
    )

    truth = unseen.targets(3)
    assert model.shared_thresholds == ("rare",)
    right = (model.predict(unseen.texts) >= model.thresholds) == truth
    before = (model.baseline.predict(unseen.texts) >= model.baseline.thresholds) == truth
    assert right.mean() > 0.9
    assert right.mean() > before.mean()
    assert model.multi_label
    assert notes.metrics[-1].loss < notes.metrics[0].loss


@pytest.mark.parametrize("stop_at", [1, 7])
def test_stops_within_a_step(
    base: BaseEncoder, learnt_from: LabelledTexts, held_out: LabelledTexts, stop_at: int
) -> None:
    notes = _Notes()

    with pytest.raises(Cancelled):
        train(
            base=base,
            labels=_LABELS,
            train=learnt_from,
            validation=held_out,
            positive_label=None,
            hyperparameters=_QUICK,
            listener=notes,
            should_stop=lambda: bool(notes.progress) and notes.progress[-1].step >= stop_at,
            threads=1,
        )

    assert notes.progress[-1].step == stop_at


def test_stops_before_the_first_step(base: BaseEncoder, learnt_from: LabelledTexts) -> None:
    notes = _Notes()

    with pytest.raises(Cancelled):
        train(
            base=base,
            labels=_LABELS,
            train=learnt_from,
            validation=None,
            positive_label=None,
            hyperparameters=_QUICK,
            listener=notes,
            should_stop=lambda: True,
            threads=1,
        )

    assert notes.progress == []


def test_the_baseline_alone_is_the_runs_baseline(
    base: BaseEncoder, learnt_from: LabelledTexts, model: TrainedModel
) -> None:
    alone = fit_baseline(base=base, labels=_LABELS, train=learnt_from, seed=1)

    assert np.allclose(alone.predict(["good app"]), model.baseline.predict(["good app"]), atol=1e-5)


def test_a_saved_encoder_is_a_base_again(
    model: TrainedModel, held_out: LabelledTexts, tmp_path: Path
) -> None:
    files = model.save_encoder(tmp_path)

    assert {
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    } == set(files)
    again = read_base(tmp_path)
    embeddings = embed(
        load_encoder(again), Tokenizer.load(again).encode(held_out.texts), again.pad_token_id
    )
    assert np.array_equal(embeddings, model.embed(held_out.texts))
    head = load_file(tmp_path / "head.safetensors")
    logits = embeddings @ head["weight"].T + head["bias"]
    assert np.array_equal(logits.argmax(axis=1), model.predict(held_out.texts).argmax(axis=1))


def test_the_directory_declares_what_it_was_trained_for_and_no_more(
    model: TrainedModel, tmp_path: Path
) -> None:
    nested = replace(model, plan=replace(model.plan, matryoshka_dimensions=(8, 16)))
    nested.save_encoder(tmp_path / "nested")
    again = read_base(tmp_path / "nested")
    replace(model, base=again).save_encoder(tmp_path / "further")

    assert again.matryoshka_dimensions == (8, 16)
    assert read_base(tmp_path / "further").matryoshka_dimensions == ()


def test_a_further_training_keeps_the_lengths_that_are_shorter_than_the_whole(
    model: TrainedModel,
) -> None:
    whole = model.base.dimensions
    base = replace(model.base, matryoshka_dimensions=(8, 16, whole))

    chosen = plan(Hyperparameters(), shape_of(base, rows=100, labels=2))

    assert chosen.matryoshka_dimensions == (8, 16)


def test_a_text_does_not_depend_on_its_company(model: TrainedModel) -> None:
    texts = ["good", "the card was lost and nobody helped me again and again " * 3]

    together = model.embed(texts)

    for index, text in enumerate(texts):
        assert np.abs(model.embed([text])[0] - together[index]).max() < 1e-5
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(2), abs=1e-5)


def test_tokens_are_cut_at_the_bases_length_and_never_padded(base: BaseEncoder) -> None:
    short, long = Tokenizer.load(base).encode(["good app", "good " * 500])

    assert [VOCABULARY[token] for token in short] == ["[CLS]", "good", "app", "[SEP]"]
    assert len(long) == MAX_TOKENS
    assert VOCABULARY[long[-1]] == "[SEP]"


def test_batches_are_padded_on_the_right() -> None:
    ids, mask = collate([[5, 6, 7], [8]], pad_token_id=9)

    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_run_that_diverges_ends_there_also_where_nothing_is_measured(base: BaseEncoder) -> None:
    wild = Hyperparameters(epochs=10, learning_rate=1e38, head_learning_rate=1e38, batch_size=16)
    notes = _Notes()

    with pytest.raises(Diverged, match="smaller learning_rate"):
        _train(base, messages(0, 40), notes=notes, hyperparameters=wild)

    assert notes.progress[-1].step < 10
