"""Steps that need no run, because what they would make is there: what remains to be recorded of them.

What an artifact needs at run time is declared beside its recipe and decides nothing that is in it, so it is no part of
the build key. The artifact may be there with other references than the recipe asks for now: these are added, or a
garbage collection would take what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nexis_eval.execute.linkage import check_linkage
from nexis_eval.graph.closures import Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation, Script
from nexis_eval.platforms import platform_named
from nexis_eval.schedule.plan import Plan
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.store import Store


def references(derivation: Derivation, outputs: Mapping[DerivationId, Outputs]) -> list[TreeDigest]:
    """What the outputs of ``derivation`` refer to; ``outputs`` has those of all that it needs at run time."""
    return [outputs[each]["out"] for each in derivation.runtime]


def check_run_time(
    store: Store,
    graph: DerivationGraph,
    derivation: Derivation,
    tree: Path,
    needed: Sequence[TreeDigest],
) -> None:
    """Whether what a rule built can run with what it declares to need, and is for its architecture.

    ``tree`` is its output ``out``. Raises what ``check_linkage`` raises.
    """
    script = derivation.builder
    if not isinstance(script, Script) or not script.call:
        return

    def packages() -> Iterator[tuple[str, TreeDigest]]:
        for name, identity in graph.targets.packages.items():
            known = store.realised(identity)
            if known is not None and "out" in known.outputs:
                yield name, known.outputs["out"]

    check_linkage(
        store,
        derivation.label,
        tree,
        platform_named(derivation.platform),
        needed,
        allowed=script.allow_missing,
        packages=packages,
    )


def adopt(
    store: Store, graph: DerivationGraph, each: DerivationId, key: BuildKey, outputs: Mapping[DerivationId, Outputs]
) -> None:
    """Record that a derivation came out as the realisation of ``key``, which is there; it is in ``outputs`` too.

    Raises what ``check_linkage`` raises if it cannot run with what it declares to need now.
    """
    derivation = graph.derivations[each]
    if isinstance(derivation.builder, Script):
        needed = references(derivation, outputs)
        out = outputs[each].get("out")
        if out is not None and set(needed) != {*store.references(out)} - {out}:
            check_run_time(store, graph, derivation, store.path(out), needed)
        for digest in outputs[each].values():
            store.add_references(digest, needed)
    store.record_alias(each, key)


def adopt_cut_off(store: Store, graph: DerivationGraph, plan: Plan) -> None:
    """``adopt`` every step that ``plan`` found to be done although its recipe is new."""
    for each, key in plan.cut_off.items():
        adopt(store, graph, each, key, plan.done)
