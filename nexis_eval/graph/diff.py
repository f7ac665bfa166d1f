"""Compares two derivations down to the lines of their scripts: what differs itself, and what only follows. Pure.

Two derivations are paired because somebody named them, whatever they are called; below them, inputs are paired by name
and kind. So two versions of a package can be compared, and one package for two architectures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation, Script
from nexis_eval.graph.why import Change, recipe_changes
from nexis_store.digest import DerivationId


@dataclass(frozen=True, slots=True)
class Pair:
    """Two derivations that stand in each other's place."""

    before: DerivationId
    after: DerivationId


@dataclass(frozen=True, slots=True)
class Difference:
    """A pair whose own recipes differ."""

    pair: Pair
    label: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class DerivationDiff:
    """What makes two derivations differ; ``follows`` are the labels of steps that differ only because of ``causes``."""

    root: Pair
    causes: tuple[Difference, ...]
    follows: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the two are one recipe."""
        return self.root.before == self.root.after


def compare(before: DerivationGraph, old: DerivationId, after: DerivationGraph, new: DerivationId) -> DerivationDiff:
    """Compare derivation ``old`` of one graph with ``new`` of another; causes come in build order, inputs first."""
    causes: list[Difference] = []
    follows: list[str] = []
    for pair in _pairs(before, after, Pair(old, new)):
        was, now = before.derivations[pair.before], after.derivations[pair.after]
        changes = (*recipe_changes(before, was, after, now), *_needed_changes(before, after, pair))
        label = was.label if was.label == now.label else f"{was.label} → {now.label}"
        if changes:
            causes.append(Difference(pair, label, changes))
        else:
            follows.append(label)
    return DerivationDiff(Pair(old, new), tuple(causes), tuple(follows))


def _pairs(before: DerivationGraph, after: DerivationGraph, root: Pair) -> Iterator[Pair]:
    """The differing pairs at and below ``root``, each after those below it."""
    done: set[Pair] = set()
    pending = [root]
    while pending:
        pair = pending[-1]
        if pair in done or pair.before == pair.after:
            pending.pop()
            continue
        below = [each for each in _inputs(before, after, pair) if each.before != each.after and each not in done]
        # Pairs cannot form a circle: each step goes down in two graphs that have none.
        if below:
            pending.extend(reversed(below))
            continue
        pending.pop()
        done.add(pair)
        yield pair


def _inputs(before: DerivationGraph, after: DerivationGraph, pair: Pair) -> Iterator[Pair]:
    """What the two use, paired by name and kind, and where several have these by their order."""
    others: dict[tuple[str, str], list[DerivationId]] = {}
    for each in dict.fromkeys(before.derivations[pair.before].dependencies()):
        derivation = before.derivations[each]
        others.setdefault((derivation.name, derivation.builder.kind), []).append(each)
    for each in dict.fromkeys(after.derivations[pair.after].dependencies()):
        derivation = after.derivations[each]
        candidates = others.get((derivation.name, derivation.builder.kind), [])
        if candidates:
            yield Pair(candidates.pop(0), each)


def _names(graph: DerivationGraph, needed: Iterable[DerivationId]) -> str:
    return " ".join(graph.derivations[each].name for each in needed)


def _calls(old: Derivation, new: Derivation) -> tuple[str, str]:
    if not isinstance(old.builder, Script) or not isinstance(new.builder, Script):
        return "", ""
    if (old.builder.script, old.builder.env) != (new.builder.script, new.builder.env):
        return "", ""
    return "\n".join(old.builder.call), "\n".join(new.builder.call)


def _needed_changes(before: DerivationGraph, after: DerivationGraph, pair: Pair) -> Iterator[Change]:
    """What the walk leaves out, because no build sees it."""
    old, new = before.derivations[pair.before], after.derivations[pair.after]
    for field, was, now in (
        # Calls of rules may differ in what no script shows: the ids differ then, and nothing is built.
        ("call of the rule, to the same script", *_calls(old, new)),
        ("needed at run time", _names(before, old.runtime), _names(after, new.runtime)),
        ("brings along for builds", _names(before, old.propagates), _names(after, new.propagates)),
    ):
        if was != now:
            yield Change.of(field, was, now)
