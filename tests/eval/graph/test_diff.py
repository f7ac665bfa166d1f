"""The comparison of two derivations, whatever they are called."""

from __future__ import annotations

from hypothesis import given

from nexis_eval.graph.dag import DerivationGraph, GraphBuilder, layers
from nexis_eval.graph.derivation import Derivation, Script
from nexis_eval.graph.diff import DerivationDiff, compare
from nexis_eval.graph.target import Targets
from tests.eval.graphs import leaf, random_graphs, script, union


def system(
    *, source: str = "1", build: str = "make\n", name: str = "package", more: bool = False, turned: bool = False
) -> DerivationGraph:
    builder = GraphBuilder()
    inputs = [builder.add(leaf("source", source)), builder.add(leaf("tools"))]
    if more:
        inputs.insert(0, builder.add(leaf("more")))
    if turned:
        inputs.reverse()
    package = builder.add(script(name, inputs, build))
    builder.packages["root"] = builder.add(union("root", [package]))
    return builder.finish()


def difference(before: DerivationGraph, after: DerivationGraph) -> DerivationDiff:
    return compare(before, before.targets.packages["root"], after, after.targets.packages["root"])


def shown(found: DerivationDiff) -> list[tuple[str, list[str]]]:
    return [(each.label, [change.describe() for change in each.changes]) for each in found.causes]


@given(random_graphs())
def test_a_graph_does_not_differ_from_itself(graph: DerivationGraph) -> None:
    for each in graph.targets:
        found = compare(graph, each, graph, each)
        assert found.same
        assert not found.causes
        assert not found.follows


@given(random_graphs(), random_graphs())
def test_different_derivations_have_a_cause(before: DerivationGraph, after: DerivationGraph) -> None:
    old, new = next(reversed(list(before.derivations))), next(reversed(list(after.derivations)))
    found = compare(before, old, after, new)
    assert bool(found.causes) == (old != new)


def test_the_line_of_the_script_is_named_and_what_follows_is_apart() -> None:
    found = difference(system(), system(build="make -k\n"))
    assert shown(found) == [("package", ["script:\n  -make\n  +make -k"])]
    assert found.follows == ("root",)


def test_inputs_come_before_their_users() -> None:
    found = difference(system(), system(source="2", build="make -k\n"))
    assert [each.label for each in found.causes] == ["source", "package"]
    assert found.causes[0].changes[0].describe() == "file etc/source text: 1 → 2"


def test_one_input_more_is_one_difference() -> None:
    found = difference(system(), system(more=True))
    assert shown(found) == [("package", ["input more (files) added: out for x86_64 as layer at /"])]


def test_the_order_of_inputs_is_a_difference() -> None:
    found = difference(system(), system(turned=True))
    (changes,) = [changes for _, changes in shown(found)]
    assert changes[0].startswith("order of inputs:")


def test_packages_of_two_names_are_compared() -> None:
    before, after = system(), system(name="other", build="make -k\n")
    found = compare(before, before.called("package")[0], after, after.called("other")[0])
    assert shown(found) == [("package → other", ["name: package → other", "script:\n  -make\n  +make -k"])]


def test_calls_that_differ_without_effect_are_said_to() -> None:
    def graph(call: str) -> DerivationGraph:
        builder = GraphBuilder()
        build = Derivation("package", Script("make\n", call=(call,)), "x86_64", inputs=tuple(layers([])))
        builder.packages["root"] = builder.add(build)
        return DerivationGraph({builder.packages["root"]: build}, Targets(builder.packages))

    assert shown(difference(graph("one"), graph("two"))) == [
        ("package", ["call of the rule, to the same script: one → two"])
    ]
