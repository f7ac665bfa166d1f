"""Root causes against consequences."""

from __future__ import annotations

from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.why import Reach, causes, consequences
from nexis_store.digest import DerivationId
from tests.eval.graphs import leaf, script, union


def system(motd: str = "hello", build: str = "make\n", extra: bool = False) -> DerivationGraph:
    builder = GraphBuilder()
    motd_id = builder.add(leaf("motd", motd))
    package = builder.add(script("package", [], build))
    user = builder.add(script("user", [package]))
    inputs: list[DerivationId] = [motd_id, package, user]
    if extra:
        inputs.append(builder.add(leaf("extra")))
    builder.add(union("rootfs", inputs))
    return builder.finish()


def test_nothing_changed() -> None:
    assert list(causes(system(), system())) == []


def test_only_the_recipe_that_changed_is_a_cause() -> None:
    after = system(build="make -j4\n")
    (cause,) = causes(system(), after)
    assert cause.label == "package"
    assert not cause.new
    assert [change.field for change in cause.changes] == ["script"]
    assert cause.changes[0].describe() == "script:\n  -make\n  +make -j4"
    assert consequences(after, {cause.derivation: cause}) == {cause.derivation: Reach(2, 2)}


def test_text_of_a_file_is_named() -> None:
    (cause,) = causes(system(), system(motd="bye"))
    assert cause.label == "motd"
    assert cause.changes[0].describe() == "file etc/motd text: hello → bye"


def test_a_new_part_is_a_cause_and_so_is_the_list_that_took_it_in() -> None:
    found = list(causes(system(), system(extra=True)))
    assert [(cause.label, cause.new) for cause in found] == [("extra", True), ("rootfs", False)]
    assert [change.describe() for change in found[1].changes] == [
        "input extra (files) added: out for x86_64 as layer at /"
    ]


def test_what_two_causes_reach_is_cut_off_by_neither_alone() -> None:
    after = system(motd="bye", build="make -j4\n")
    found = {each.derivation: each for each in causes(system(), after)}
    reach = {found[each].label: value for each, value in consequences(after, found).items()}
    assert reach == {"motd": Reach(1, 0), "package": Reach(2, 1)}
