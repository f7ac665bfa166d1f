"""The scheduler's order and states, without running anything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation
from nexis_eval.schedule.order import Schedule, State
from nexis_store.digest import DerivationId
from tests.eval.graphs import leaf, random_graphs, union


def drain(schedule: Schedule) -> list[DerivationId]:
    order = []
    while (each := schedule.take()) is not None:
        order.append(each)
        schedule.finish(each)
    return order


@given(random_graphs())
def test_every_node_runs_once_and_after_its_inputs(graph: DerivationGraph) -> None:
    order = drain(Schedule(graph.derivations))
    assert sorted(order) == sorted(graph.derivations)
    position = {each: index for index, each in enumerate(order)}
    for each, derivation in graph.derivations.items():
        assert all(position[needed] < position[each] for needed in derivation.dependencies())


@given(random_graphs(), st.data())
def test_a_failure_blocks_exactly_what_depends_on_it(graph: DerivationGraph, data: st.DataObject) -> None:
    schedule = Schedule(graph.derivations)
    victim = data.draw(st.sampled_from(list(graph.derivations)))
    blocked: tuple[DerivationId, ...] = ()
    while (each := schedule.take()) is not None:
        if each == victim:
            blocked = schedule.fail(each)
        else:
            schedule.finish(each)
    assert schedule.unfinished == 0
    expected = [each for each in graph.derivations if each != victim and victim in graph.closure([each])]
    assert list(blocked) == expected
    assert [each for each in graph.derivations if schedule.state(each) is State.BLOCKED] == expected


def test_the_longest_way_to_the_end_goes_first() -> None:
    builder = GraphBuilder()
    short = builder.add(leaf("short"))
    long = builder.add(leaf("long"))
    middle = builder.add(union("middle", [long]))
    builder.add(union("end", [short, middle]))
    durations = {"short": 5, "long": 1, "middle": 10, "end": 1}

    def duration(derivation: Derivation) -> int:
        return durations[derivation.name]

    schedule = Schedule(builder.finish().derivations, duration)
    assert schedule.remaining_ns[long] == 12
    assert schedule.remaining_ns[short] == 6
    assert schedule.take() == long


def test_a_chain_of_ten_thousand_does_not_exhaust_the_stack() -> None:
    builder = GraphBuilder()
    last = builder.add(leaf("n0"))
    for index in range(1, 10_000):
        last = builder.add(union(f"n{index}", [last]))
    graph = builder.finish()
    assert len(graph.closure([last])) == 10_000
    assert len(drain(Schedule(graph.derivations))) == 10_000
    schedule = Schedule(graph.derivations)
    first = schedule.take()
    assert first is not None
    assert len(schedule.fail(first)) == 9_999
