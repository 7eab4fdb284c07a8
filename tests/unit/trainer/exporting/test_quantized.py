from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir
import pytest

from services.trainer.exporting import quantization
from services.trainer.exporting.decision import SINGLE
from services.trainer.exporting.graph import Exportable, trace
from services.trainer.exporting.quantized import Examples, NotWorthIt, search
from services.trainer.exporting.session import Sequences, Session
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.tokenize import Tokenizer
from services.trainer.training import TrainedModel
from tests.tiny_base import HIDDEN, INTERMEDIATE, LAYERS


@pytest.fixture(scope="module")
def plain(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    module = Exportable(model.encoder, model.head, model.temperature).eval()
    onnx_ir.save(trace(module, model.base), path)
    return path


@pytest.fixture(scope="module")
def examples(model: TrainedModel, learnt_from: LabelledTexts) -> Examples:
    return Examples(
        sequences=Tokenizer.load(model.base).encode(learnt_from.texts),
        truth=np.array(learnt_from.label_ids)[:, None] == np.arange(2),
        pad_token_id=model.base.pad_token_id,
    )


def _faster(session: Session, sequences: Sequences, batch: int) -> float:  # noqa: ARG001 (the stopwatch's)
    return 1.0 if session.path.name == "form.onnx" else 3.0


def test_finds_the_products_of_every_layer(plain: Path) -> None:
    found = quantization.products(plain)

    # Query, key, value, their output; up and down.
    assert len(found) == LAYERS * 6
    assert sum(product.rows > product.columns for product in found) == LAYERS
    # Query, key and value read the same.
    assert len({product.activation for product in found}) == LAYERS * 4


def test_ranges_hold_all_that_was_seen_and_zero(
    plain: Path, examples: Examples, tmp_path: Path
) -> None:
    few = quantization.observe(plain, examples.sequences[:2], scratch=tmp_path)
    many = quantization.observe(plain, examples.sequences, scratch=tmp_path)

    assert few.keys() == {product.activation for product in quantization.products(plain)}
    for name, (least, greatest) in many.items():
        assert least <= min(few[name][0], 0.0)
        assert greatest >= max(few[name][1], 0.0)
    assert few != many
    assert list(tmp_path.iterdir()) == []


def test_what_ranges_were_made_on_does_not_judge(
    plain: Path, examples: Examples, tmp_path: Path
) -> None:
    timed: list[Sequences] = []

    def stopwatch(session: Session, sequences: Sequences, batch: int) -> float:
        timed.append(sequences)
        return _faster(session, sequences, batch)

    judgement = search(
        plain,
        plain,
        tmp_path / "form.onnx",
        examples=examples,
        decision=SINGLE,
        stopwatch=stopwatch,
    )

    made_on = len(examples.sequences) // 4
    assert judgement.texts == len(examples.sequences) - made_on
    assert timed[0][0] is examples.sequences[made_on]


def test_a_product_that_is_found_to_do_damage_stays_in_fp32(
    plain: Path, examples: Examples, tmp_path: Path
) -> None:
    spread, harmful = _with_outliers(plain, tmp_path / "spread.onnx")

    judgement = search(
        spread,
        plain,
        tmp_path / "form.onnx",
        examples=examples,
        decision=SINGLE,
        stopwatch=_faster,
    )

    left = {product.weight for product in quantization.products(tmp_path / "form.onnx")}
    assert harmful in left
    assert judgement.kept == len(left) == LAYERS + 1
    assert judgement.min_cosine >= 0.97


def test_says_what_the_last_form_lacked(plain: Path, examples: Examples, tmp_path: Path) -> None:
    # Against the answers of other weights no form is near.
    other = tmp_path / "other.onnx"
    model = onnx_ir.load(plain)
    for weight in list(model.graph.initializers.values()):
        if weight.shape == onnx_ir.Shape([HIDDEN, HIDDEN]):
            assert weight.const_value is not None
            matrix = np.ascontiguousarray(weight.const_value.numpy().T)
            weight.const_value = onnx_ir.tensor(matrix, name=weight.name)
    onnx_ir.save(model, other)
    path = tmp_path / "form.onnx"

    with pytest.raises(NotWorthIt, match=r"cosine with fp32 is .*, below 0.97"):
        search(plain, other, path, examples=examples, decision=SINGLE, stopwatch=_faster)

    assert not path.exists()


def test_a_form_that_is_no_faster_is_refused(
    plain: Path, examples: Examples, tmp_path: Path
) -> None:
    path = tmp_path / "form.onnx"

    with pytest.raises(NotWorthIt, match=r"no faster than fp32 on this machine \(1.00 times\)"):
        search(plain, plain, path, examples=examples, decision=SINGLE, stopwatch=lambda *_: 1.0)

    assert not path.exists()


def _with_outliers(plain: Path, path: Path) -> tuple[Path, str]:
    """Write the same function with one product whose inputs no common scale fits.

    One channel of what the last up-projection reads is a thousand times as large, and the row of
    the matrix that it meets as much smaller.
    """
    model = onnx_ir.load(plain)
    node = next(
        node
        for node in reversed(model.graph)
        if node.op_type == "MatMul" and node.inputs[1] and node.inputs[1].const_value
        if node.inputs[1].shape == [HIDDEN, INTERMEDIATE]
    )
    activation, weight = node.inputs
    assert weight is not None
    assert weight.const_value is not None
    factors = np.ones(HIDDEN, dtype=np.float32)
    factors[0] = 1000.0
    matrix = weight.const_value.numpy() / factors[:, None]
    constants: dict[str, np.ndarray] = {"factors": factors, "harmful": matrix}
    values = {
        name: onnx_ir.Value(name=name, const_value=onnx_ir.tensor(array, name=name))
        for name, array in constants.items()
    }
    for value in values.values():
        model.graph.register_initializer(value)
    stretched = onnx_ir.node("Mul", [activation, values["factors"]])
    model.graph.insert_before(node, [stretched])
    node.replace_input_with(0, stretched.outputs[0])
    node.replace_input_with(1, values["harmful"])
    onnx_ir.save(model, path)
    return path, "harmful"
