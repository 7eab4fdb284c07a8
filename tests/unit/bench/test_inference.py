from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.inference import __main__ as command
from bench.inference.bare import Bare
from bench.inference.figures import at_least, at_most
from bench.inference.loads import Call, Outcome, latency
from bench.inference.texts import messages, mix
from tests.tiny_model import tiny_graph, tiny_tokenizer


def call(began: float, seconds: float, code: str = "OK", texts: int = 1) -> Call:
    return Call(began=began, seconds=seconds, code=code, texts=texts)


def outcome(*calls: Call) -> Outcome:
    return Outcome(start=100.0, seconds=10.0, cpu_seconds=1.0, lanes={"a": calls})


@pytest.mark.parametrize(
    ("measured", "met"), [(0.9, (True, False)), (1.0, (True, True)), (1.1, (False, True))]
)
def test_a_target_is_met_on_its_good_side(measured: float, met: tuple[bool, bool]) -> None:
    found = at_most("few", measured, 1.0), at_least("many", measured, 1.0)

    assert tuple(figure.met for figure in found) == met
    assert found[0].plain["met"] is met[0]
    assert ("MISSED" in found[0].lines()[0]) is not met[0]


def test_a_figure_tells_what_it_comes_from() -> None:
    figure = at_most("ratio", 0.5, 1.0, **{"ours ms": 2.0}, best="apart, by 8")

    assert figure.lines()[1].strip() == "ours ms 2, best apart, by 8"
    assert json.loads(json.dumps(figure.plain))["beside"]["ours ms"] == 2.0


def test_a_mix_has_the_lengths_it_was_asked_for_and_is_drawn_the_same_again() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.no_truncation()
    tokenizer.no_padding()

    drawn = mix(messages(None), tokenizer, range(5, 101), 60)

    lengths = [len(tokenizer.encode(text).ids) for text in drawn]
    assert min(lengths) in range(5, 30)
    assert max(lengths) in range(70, 101)
    assert drawn == mix(messages(None), tokenizer, range(5, 101), 60)
    assert drawn != mix(messages(None), tokenizer, range(5, 101), 60, seed=8)


def test_texts_count_where_they_are_answered_in_the_window() -> None:
    found = outcome(
        call(-1.0, 2.0, texts=4),  # begun before, answered within
        call(1.0, 1.0, texts=8),
        call(2.0, 1.0, "RESOURCE_EXHAUSTED", texts=16),
        call(9.5, 1.0, texts=32),  # answered after the end
    )

    assert found.texts("a") == 12
    assert found.rate("a") == pytest.approx(1.2)
    assert [each.texts for each in found.begun("a")] == [8, 16, 32]


def test_latency_is_that_of_answered_calls() -> None:
    calls = [call(0.0, 1.0), call(0.0, 3.0), call(0.0, 99.0, "UNAVAILABLE")]

    assert latency(calls, 0.5) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no call was answered"):
        latency(calls[2:], 0.5)


def test_bare_computes_every_text_in_every_order(tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(tiny_graph(labels=0))
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    files = (str(tmp_path / "graph.onnx"), str(tmp_path / "tokenizer.json"))
    computed: list[int] = []

    class Counting(Bare):
        def run(self, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            computed.append(len(rows))
            return super().run(rows)

    texts = ["a b c", "a", "order late again", "b c", "my card is late"]
    bare = Counting(*files, workers=2, threads=1)

    for batch in (1, 2):
        computed.clear()
        bare.whole(texts, batch)
        assert sum(computed) == len(texts)
        assert max(computed) == batch
    computed.clear()
    bare.queued(texts * 4)
    assert computed == [8, 8, 4]


def test_a_row_that_does_not_exist_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "overhead,nonsense"])

    assert "'nonsense' is none of overhead, idle-peer" in capsys.readouterr().err
