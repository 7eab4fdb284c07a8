from __future__ import annotations

from dataclasses import replace

import pytest

from services.inference.scheduling.priority import Priority
from tests.unit.inference.scheduling.simulation import (
    CPU,
    MACHINES,
    Machine,
    Simulation,
    numbers,
    short,
)


@pytest.mark.parametrize("machine", MACHINES)
def test_callers_get_the_same_whatever_they_send(machine: Machine) -> None:
    simulation = Simulation(machine)
    source = numbers(4)
    for _ in range(32):
        simulation.keep_asking(short(5), caller="singles")
    for _ in range(4):
        simulation.keep_asking(lambda: [source.randint(5, 400) for _ in range(64)], caller="large")

    simulation.run(until=4 * machine.horizon)

    singles, large = served(simulation, "singles"), served(simulation, "large")
    assert singles + large > 0.8 * simulation.busy_seconds
    if machine.limits.texts == CPU.limits.texts:
        # 32 callers keep a CPU busy; a GPU they do not, and there the rest is the other's.
        assert 0.4 < singles / (singles + large) < 0.6


def served(simulation: Simulation, caller: str) -> float:
    return sum(call.served for call in simulation.calls if call.caller == caller)


def test_models_get_the_same_whatever_each_costs() -> None:
    simulation = Simulation(CPU)
    for _ in range(64):
        simulation.keep_asking(lambda: [12], model="tone")
    for _ in range(8):
        simulation.keep_asking(lambda: [380] * 4, model="intent")

    simulation.run(until=4.0)

    tone, intent = (
        sum(call.served for call in simulation.calls if call.model == model)
        for model in ("tone", "intent")
    )
    assert 0.4 < tone / (tone + intent) < 0.6


def test_leaving_and_coming_back_gains_nothing() -> None:
    simulation = Simulation(replace(CPU, workers=1))
    for _ in range(8):
        simulation.keep_asking(lambda: [16], caller="always there", until=6.0)
    # Its queue is empty after each of its texts, which take ten times as long.
    simulation.keep_asking(lambda: [160], caller="comes and goes", until=6.0)

    simulation.run(until=6.0)

    comes = served(simulation, "comes and goes")
    assert comes / simulation.busy_seconds < 0.6


@pytest.mark.parametrize("machine", MACHINES)
def test_a_large_call_ends_though_others_never_stop(machine: Machine) -> None:
    simulation = Simulation(machine)
    for number in range(64):
        simulation.keep_asking(short(number))
    large = simulation.ask([100] * 40, at=0.1 * machine.horizon)

    simulation.run(until=10 * machine.horizon)

    assert large.latency < 10 * machine.horizon


def test_bulk_has_its_share_beside_interactive_texts_without_end() -> None:
    simulation = Simulation(CPU, bulk_share=0.2)
    for number in range(32):
        simulation.keep_asking(short(number))
    simulation.keep_asking(lambda: [60] * 256, priority=Priority.BULK)
    simulation.run(until=5.0)
    begun = {priority: served_with(simulation, priority) for priority in Priority}

    simulation.run(until=15.0)

    seconds = {
        priority: served_with(simulation, priority) - begun[priority] for priority in Priority
    }
    assert 0.17 < seconds[Priority.BULK] / sum(seconds.values()) < 0.25


def served_with(simulation: Simulation, priority: Priority) -> float:
    return sum(call.served for call in simulation.calls if call.priority is priority)


def test_without_a_share_bulk_waits_for_all_others() -> None:
    simulation = Simulation(CPU, bulk_share=0.0)
    for number in range(32):
        simulation.keep_asking(short(number), until=2.0)
    simulation.ask([60] * 256, priority=Priority.BULK)

    simulation.run(until=2.0)

    assert served_with(simulation, Priority.BULK) == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_an_interactive_text_waits_for_one_batch_of_bulk(machine: Machine) -> None:
    simulation = Simulation(machine, batch_seconds=0.04)
    source = numbers(6)
    for _ in range(4):
        simulation.keep_asking(
            lambda: [source.randint(5, 120) for _ in range(256)], priority=Priority.BULK
        )
    alone = machine.curve(1, 30)
    calls = [
        simulation.ask([source.randint(5, 30)], at=machine.horizon + number * 10 * alone)
        for number in range(40)
    ]

    simulation.run(until=machine.horizon + 420 * alone)

    latencies = sorted(call.latency for call in calls)
    batch = max(0.04, 4 * machine.curve(1, 1)) * (1 + machine.noise)
    assert latencies[-2] < 3 * alone + batch
    # And bulk has nearly all of what is left.
    bulk = served_with(simulation, Priority.BULK)
    assert bulk > 0.8 * simulation.busy_seconds
