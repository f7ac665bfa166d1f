"""What ``repro check`` makes of steps that cannot be built in the first place."""

from __future__ import annotations

from nexis_eval.cli.repro_check import lost_steps
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.repro.report import Report, Status
from nexis_store.digest import TreeDigest
from tests.eval.graphs import leaf, script

TREE = TreeDigest(bytes(32))


def test_what_cannot_be_built_is_told_and_keeps_nothing_else_from_being_checked() -> None:
    builder = GraphBuilder()
    source = builder.add(leaf("source"))
    good = builder.add(script("good", [source]))
    broken = builder.add(script("broken", [source], "false\n"))
    user = builder.add(script("user", [broken]))
    graph = builder.finish()
    # The store has what an earlier recipe of its input led to, so that the step itself is there.
    outputs = {each: {"out": TREE} for each in (source, good, user)}
    steps = [good, broken, user]

    assert lost_steps(graph, steps, {**outputs, broken: {"out": TREE}}, ()) == {}
    lost = lost_steps(graph, steps, outputs, ("broken",))
    assert list(lost) == [broken, user]
    assert lost[broken].notes == ("it cannot be built in the first place",)
    assert lost[user].notes == ("it cannot be built in the first place: broken failed",)
    assert {each.status for each in lost.values()} == {Status.FAILED}
    assert Report("", "", "", tuple(lost.values())).exit_code == 2
