from __future__ import annotations

from services.inference.scheduling.turns import Turns


def anybody(_: str) -> bool:
    return True


def serve(turns: Turns[str], seconds: float) -> str:
    key = turns.first(anybody)
    assert key is not None
    turns.take(key)
    turns.charge(key, seconds)
    return key


def test_who_had_least_is_next_and_of_equals_who_came_first() -> None:
    turns: Turns[str] = Turns()
    turns.join("a")
    turns.join("b")

    assert [serve(turns, 1.0), serve(turns, 3.0), serve(turns, 1.0), serve(turns, 1.0)] == [
        "a",
        "b",
        "a",
        "a",
    ]


def test_only_those_who_can_are_asked() -> None:
    turns: Turns[str] = Turns()
    turns.join("a")
    turns.join("b")

    assert turns.first(lambda key: key == "b") == "b"
    assert turns.first(lambda _: False) is None


def test_who_comes_late_shuts_nobody_out() -> None:
    turns: Turns[str] = Turns()
    turns.join("old")
    for _ in range(100):
        serve(turns, 1.0)
    turns.join("new")

    served = [serve(turns, 1.0) for _ in range(10)]

    assert served.count("old") >= 4


def test_leaving_and_coming_back_pays_no_debts() -> None:
    turns: Turns[str] = Turns()
    turns.join("greedy")
    turns.join("other")
    serve(turns, 10.0)
    turns.leave("greedy")
    turns.join("greedy")

    assert [serve(turns, 1.0) for _ in range(10)] == ["other"] * 10


def test_who_left_long_ago_is_forgotten() -> None:
    turns: Turns[str] = Turns()
    turns.join("stays")
    for number in range(1_000):
        turns.join(f"guest {number}")
        turns.take("stays")
        turns.charge("stays", 1.0)
        turns.leave(f"guest {number}")

    assert len(turns._had) < 100
