"""Compares two records: which step differs by itself, and which merely follows from another. Pure but for the trees.

Steps are compared in build order. A step is a cause if its own recipe changed, or if the same build key gave another
output; it follows if only its inputs came out otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from nexis_eval.graph.closures import visible
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation
from nexis_eval.graph.why import Change, StepName, recipe_changes, step_name
from nexis_eval.repro.causes import judge_view
from nexis_eval.repro.compare import Tree, compare_trees
from nexis_eval.repro.findings import Cause, Difference, Verdict, View
from nexis_eval.repro.record import BuildRecord, Step
from nexis_eval.repro.report import Report, Status, Subject
from nexis_store.digest import DerivationId, TreeDigest

FindTree = Callable[[TreeDigest], Tree | None]


@dataclass(frozen=True, slots=True)
class Side:
    """One record, what to call it, and where its trees can be had."""

    name: str
    record: BuildRecord
    tree: FindTree


def diff_records(before: Side, after: Side, *, everything: bool = False) -> Report:
    """Compare two records; without ``everything`` only what differs and the recorded targets are listed."""
    pairs = _pairs(before.record.graph, after.record.graph)
    differing: set[DerivationId] = set()
    subjects: list[Subject] = []
    shown = set(_results(after.record))
    for new_id, derivation in after.record.graph.derivations.items():
        old_id = pairs.get(new_id)
        subject = _step(before, after, old_id, new_id, derivation, differing)
        if subject is None:
            continue
        if subject.status is not Status.SAME:
            differing.add(new_id)
        if everything or subject.status is not Status.SAME or new_id in shown:
            subjects.append(subject)
    matched = set(pairs.values())
    for old_id, derivation in before.record.graph.derivations.items():
        if old_id not in matched and old_id in before.record.steps:
            note = f"only in {before.name}"
            subjects.append(Subject(derivation.label, derivation.platform, Status.DIFFERS, notes=(note,)))
    facts = (
        ("system", _either(before.record.system, after.record.system)),
        ("architecture", _either(before.record.arch, after.record.arch)),
        ("steps compared", str(len(after.record.steps))),
        ("first cause", next((each.name for each in subjects if each.status is Status.DIFFERS), "")),
    )
    return Report("Two records compared", before.name, after.name, tuple(subjects), facts)


def _results(record: BuildRecord) -> Iterator[DerivationId]:
    """What was recorded for its own sake: the roots, or where none are named what nothing else is made from."""
    if record.roots:
        yield from filter(None, map(record.graph.targets.named, record.roots))
        return
    used = {each for derivation in record.graph.derivations.values() for each in derivation.dependencies()}
    yield from (each for each in record.steps if each not in used)


def _either(first: str, second: str) -> str:
    return first if first == second else f"{first} and {second}"


def _pairs(before: DerivationGraph, after: DerivationGraph) -> dict[DerivationId, DerivationId]:
    """For each step of ``after`` its counterpart: the same recipe, else the step of the same name, in order."""
    left: dict[StepName, list[DerivationId]] = {}
    for each, derivation in before.derivations.items():
        if each not in after.derivations:
            left.setdefault(step_name(derivation), []).append(each)
    pairs = {}
    for each, derivation in after.derivations.items():
        if each in before.derivations:
            pairs[each] = each
        elif candidates := left.get(step_name(derivation)):
            pairs[each] = candidates.pop(0)
    return pairs


def _step(
    before: Side,
    after: Side,
    old_id: DerivationId | None,
    new_id: DerivationId,
    derivation: Derivation,
    differing: set[DerivationId],
) -> Subject | None:
    """The comparison of one step; ``None`` where neither side realised it."""
    new = after.record.steps.get(new_id)
    old = before.record.steps.get(old_id) if old_id is not None else None
    if new is None and old is None:
        return None
    name, platform = derivation.label, derivation.platform
    if old is None or new is None:
        where = after.name if old is None else before.name
        return Subject(name, platform, Status.DIFFERS, notes=(f"only in {where}",))
    base = Subject(name, platform, before=_spelt(old.outputs), after=_spelt(new.outputs))
    if old.outputs == new.outputs:
        if old_id != new_id and old.key != new.key:
            return replace(base, notes=("the recipe or an input changed, the outputs did not",))
        return base
    assert old_id is not None
    changes: tuple[Change, ...] = ()
    if old_id != new_id:
        graph = before.record.graph
        changes = recipe_changes(graph, graph.derivations[old_id], after.record.graph, derivation)
    differences = _outputs(before, after, old, new)
    if changes:
        notes = tuple(f"the recipe changed: {change.describe()}" for change in changes)
        why = (f"the recipe changed: {', '.join(change.field for change in changes)}",)
        return replace(base, status=Status.DIFFERS, differences=_because(differences, Cause.RECIPE, why), notes=notes)
    if old.key != new.key:
        derivations = after.record.graph.derivations
        changed = (item for item in visible(derivations, derivation) if item in differing)
        inputs = tuple(dict.fromkeys(derivations[each].label for each in changed))
        follows = f"follows from {', '.join(inputs)}" if inputs else "follows from an input that is not in both records"
        return replace(
            base, status=Status.FOLLOWS, differences=_because(differences, Cause.INPUT, (follows,)), notes=(follows,)
        )
    notes = ("the same build key gave two outputs: this build is not reproducible",)
    return replace(base, status=Status.DIFFERS, differences=differences, notes=notes)


def _spelt(outputs: Mapping[str, TreeDigest]) -> str:
    return " ".join(f"{name}={digest}" if name != "out" else str(digest) for name, digest in sorted(outputs.items()))


def _because(differences: Iterable[Difference], cause: Cause, why: tuple[str, ...]) -> tuple[Difference, ...]:
    """Differences whose reason is known from the recipe need no guess from the bytes."""
    return tuple(replace(each, verdict=Verdict(cause, why), more_verdicts=()) for each in differences)


def _outputs(before: Side, after: Side, old: Step, new: Step) -> tuple[Difference, ...]:
    found: list[Difference] = []
    for name in sorted(old.outputs.keys() & new.outputs.keys()):
        first, second = _tree(before, old.outputs[name]), _tree(after, new.outputs[name])
        if first is not None and second is not None:
            found += compare_trees(first, second)
    return tuple(found)


def _tree(side: Side, digest: TreeDigest) -> Tree | None:
    known = side.tree(digest)
    if known is not None:
        return known
    manifest = side.record.manifests.get(digest)
    return None if manifest is None else Tree(manifest)


def differences_of_view(view: View) -> tuple[Difference, ...]:
    """The parts of an opened container as differences of their own, so that an ISO's files are listed like a tree's."""
    if view.kind in ("text", "bytes", "elf", "pe", "field") or not view.parts:
        first, *more = judge_view(view)
        return (Difference("", "content", view=view, verdict=first, more_verdicts=tuple(more)),)
    found = []
    for part in view.parts:
        change = "value" if part.kind == "field" else "content"
        if part.kind == "member" and all(each.kind == "field" for each in part.parts):
            change = "metadata"
        first, *more = judge_view(part)
        found.append(Difference(part.title, change, part.before, part.after, part, first, tuple(more)))
    return tuple(found)
