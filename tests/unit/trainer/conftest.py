"""A tiny base, and messages that even it can tell apart."""

from __future__ import annotations

import pytest
import torch

from services.trainer.base_import import BaseEncoder, read_base
from services.trainer.labelled_texts import LabelledTexts
from tests.tiny_base import write_tiny_base

_THINGS = ("order", "card", "account", "app", "payment", "refund", "delivery", "box", "bill", "day")
_GOOD = ("great", "good", "perfect", "best")
_BAD = ("awful", "bad", "terrible", "worst")


def messages(start: int, count: int) -> LabelledTexts:
    """Return messages on the same things, told apart by tone alone: 0 is bad, 1 is good."""
    texts, label_ids = [], []
    for number in range(start, start + count):
        thing = _THINGS[number % len(_THINGS)]
        word = (_BAD, _GOOD)[number % 2][number // 2 % len(_GOOD)]
        texts.append(f"the {thing} was {word} {number}" + " again" * (number % 7))
        label_ids.append(number % 2)
    return LabelledTexts(texts=texts, label_ids=label_ids)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # The problems are tiny: threads would spend their time waiting for each other.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseEncoder:
    return read_base(write_tiny_base(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="session")
def learnt_from() -> LabelledTexts:
    return messages(0, 80)


@pytest.fixture(scope="session")
def held_out() -> LabelledTexts:
    return messages(1000, 40)
