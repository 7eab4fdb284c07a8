from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.scheduling.admission import QueueLimits
from services.inference.scheduling.priority import Priority
from tests.unit.inference.scheduling.simulation import (
    CPU,
    GPU,
    MACHINES,
    POISON,
    UNREADABLE,
    Machine,
    Simulation,
    cpu,
    numbers,
)

lengths_lists = st.one_of(
    st.lists(st.integers(min_value=1, max_value=POISON - 1), min_size=1, max_size=60),
    # Of these some fail.
    st.lists(st.integers(min_value=500, max_value=UNREADABLE), min_size=1, max_size=60),
)
asked_lists = st.lists(
    st.fixed_dictionaries(
        {
            "lengths": lengths_lists,
            "at": st.floats(min_value=0, max_value=2),
            "priority": st.sampled_from(Priority),
            "caller": st.sampled_from(["acme", "rival", "third"]),
            "model": st.sampled_from(["tone", "intent"]),
            "remaining": st.sampled_from([float("inf"), float("inf"), 0.05, 0.5, 3.0]),
        }
    ),
    min_size=1,
    max_size=30,
)


@pytest.mark.parametrize("machine", MACHINES)
@given(asked=asked_lists, left=st.sets(st.integers(min_value=0, max_value=29), max_size=5))
@settings(deadline=None, max_examples=40)  # no timing decides a test
def test_every_text_is_computed_once_or_its_call_has_an_end_that_was_told(
    machine: Machine, asked: list[dict[str, object]], left: set[int]
) -> None:
    simulation = Simulation(machine, queue=QueueLimits(tokens=20_000, bytes=100_000))
    calls = [simulation.ask(**call) for call in asked]  # type: ignore[arg-type] # as drawn above
    for number in left & set(range(len(calls))):
        simulation.give_up(calls[number], at=calls[number].arrived + 0.02)

    simulation.run()

    for call in calls:
        everything = dict.fromkeys(range(len(call.lengths)), 1)
        ends = [
            call.error is not None,
            call.expired,
            call.given_up,
            call.refused,
            call.failed,
            call.computed == everything,
        ]
        assert any(ends)
        # What ran when its caller went away or another text failed may still have ended well.
        assert ends.count(True) == 1 or call.given_up or call.failed or call.refused
        assert set(call.computed.values()) <= {1}
        assert call.error is None or not (call.read or call.computed)
    stats = simulation.scheduler.stats()
    assert all(waiting.texts == waiting.tokens == 0 for waiting in stats.waiting.values())
    assert (stats.waiting_bytes, stats.running) == (0, 0)
    assert stats.calls == sum(call.error is None for call in calls)
    assert sum(stats.shed.values()) >= sum(bool(call.error) for call in calls)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_worker_is_idle_while_there_is_work_for_it(machine: Machine) -> None:
    simulation = Simulation(machine)
    source = numbers(3)
    for number in range(200):
        simulation.ask([source.randint(5, 400)] * source.randint(1, 20), at=number * 0.004)
    idle = 0

    def look() -> None:
        nonlocal idle
        waiting = simulation.scheduler.stats().waiting[Priority.INTERACTIVE].texts
        can_run = simulation.running["tone"] < machine.limits.runs
        idle += waiting > simulation.being_read and can_run and simulation.idle > 0

    for number in range(1, 800):
        simulation.at(number * 0.001, look)
    simulation.run()

    assert idle == 0


def test_two_idle_workers_share_what_waits() -> None:
    simulation = Simulation(CPU)
    call = simulation.ask([20] * 8)

    simulation.run()

    assert [len(batch.items) for batch in simulation.batches] == [4, 4]
    assert call.latency < 0.7 * cpu(8, 20)


@pytest.mark.parametrize("longest", [30, 400])
def test_calls_of_many_texts_are_as_fast_as_the_best_offline_order(longest: int) -> None:
    source = numbers(9)
    calls = [[source.randint(5, longest) for _ in range(32)] for _ in range(40)]
    # What things cost is learnt before.
    warm = [[source.randint(5, longest) for _ in range(32)] for _ in range(10)]
    simulation = Simulation(CPU)
    for call in warm:
        simulation.ask(call)
    simulation.run()
    before = simulation.busy_seconds

    for call in calls:
        simulation.ask(call, at=simulation.now)
    simulation.run()

    best = min(sum(offline(call, together) for call in calls) for together in (1, 8, 32))
    assert best / (simulation.busy_seconds - before) > 0.95


def offline(lengths: Sequence[int], together: int) -> float:
    """Return the seconds of texts that are sorted and cut into batches of so many."""
    ordered = sorted(lengths)
    parts = (ordered[at : at + together] for at in range(0, len(ordered), together))
    return sum(cpu(len(part), max(part)) for part in parts)


def test_a_gpu_is_filled() -> None:
    simulation = Simulation(GPU)
    source = numbers(10)
    for _ in range(8):
        simulation.ask([source.randint(5, 100) for _ in range(512)], priority=Priority.BULK)

    simulation.run()

    stats = simulation.scheduler.stats()
    assert stats.texts / stats.batches > 50
    assert stats.tokens / stats.padded_tokens > 0.8
