from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from services.ingest.arrow_stream import TextBatch
from services.ingest.checks.near_groups import NearGroups
from services.ingest.checks.sketches import sketch
from services.ingest.checks.tokens import pieces_of, words_of


def _groups(directory: Path, texts: list[str], threads: int = 1) -> set[frozenset[str]]:
    """Return the texts of each group."""
    encoded = [text.encode() for text in texts]
    batch = TextBatch(
        ids=np.arange(len(texts), dtype=np.int64),
        offsets=np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        data=np.frombuffer(b"".join(encoded), np.uint8),
    )
    with NearGroups(directory) as groups:
        for words in map(words_of, pieces_of(batch)):
            groups.add(words, sketch(words))
        ids, first = groups.found(threads=threads)
    assert list(ids) == sorted(ids)
    assert all(least == min(ids[first == least]) for least in first)
    return {frozenset(texts[text] for text in ids[first == least]) for least in np.unique(first)}


def _crowd(count: int) -> list[str]:
    """Return distinct texts that share most words with many others."""
    rng = random.Random(5)  # noqa: S311  # texts, not secrecy
    base = [f"word{n}" for n in range(24)]
    texts: set[str] = set()
    while len(texts) < count:
        changed = dict.fromkeys(rng.sample(range(24), 4))
        texts.add(
            " ".join(f"other{rng.randrange(6)}" if n in changed else w for n, w in enumerate(base))
        )
    return sorted(texts)


@pytest.mark.parametrize("threads", [1, 2])
def test_groups_of_a_crowd_do_not_depend_on_the_order_of_rows(tmp_path: Path, threads: int) -> None:
    texts = _crowd(800)
    shuffled = random.Random(6).sample(texts, len(texts))  # noqa: S311  # texts, not secrecy

    groups = _groups(tmp_path, texts)

    assert groups
    assert _groups(tmp_path, shuffled, threads) == groups


def test_of_a_crowd_hardly_a_pair_is_missed_and_none_made_up(tmp_path: Path) -> None:
    rng = random.Random(8)  # noqa: S311  # texts, not secrecy
    base = [f"word{n}" for n in range(9)]
    texts = [
        " ".join([*base, *(f"other{rng.randrange(5000)}" for _ in "abcd")]) for _ in range(500)
    ]
    alike = {frozenset([text, f"{text} more"]) for text in texts[:300]}

    groups = _groups(tmp_path, [*texts, *(f"{text} more" for text in texts[:300])])

    assert groups <= alike
    assert len(groups) > 0.97 * len(alike)


def test_words_count_once_and_their_order_for_nothing(tmp_path: Path) -> None:
    texts = ["a b c d e", "e d c b a a a", "a b c d", "a b c x y", "", "?"]

    assert _groups(tmp_path, texts) == {frozenset(texts[:3])}


def test_one_text_alone_and_none_at_all_make_no_group(tmp_path: Path) -> None:
    assert _groups(tmp_path, ["a b c"]) == set()
    assert _groups(tmp_path, []) == set()
