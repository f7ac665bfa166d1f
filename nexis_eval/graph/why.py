"""Compares two graphs: which recipes changed by themselves, and what merely follows from that. Pure.

The comparison reads the same walk that the build key hashes (``derivation.walk``), so an explanation cannot differ from
what made the engine build.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff

from nexis_eval.graph.builders import BUILDERS
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation, Input, walk
from nexis_eval.secrets import hidden, secrets_in
from nexis_store.digest import DIGEST_SIZE, DerivationId

StepName = tuple[str, str, str]
"""What makes two derivations the same step in two graphs: name, platform, kind of builder."""


INPUT_ORDER = "order of inputs"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two recipes of the same step. ``before`` or ``after`` is ``None`` where it was absent."""

    field: str
    before: str | None
    after: str | None

    @classmethod
    def of(cls, field: str, before: str | None, after: str | None) -> Change:
        """The difference of two values, without the secrets in them."""
        known = None if before is None else secrets_in(before)
        return cls(field, None if before is None else hidden(before), None if after is None else hidden(after, known))

    def describe(self) -> str:
        """One line, or the changed lines of a text."""
        if self.before is None:
            return f"{self.field} added" + (f": {self.after}" if self.after and "\n" not in self.after else "")
        if self.after is None:
            return f"{self.field} removed"
        if "\n" not in self.before + self.after:
            return f"{self.field}: {_shown(self.before)} → {_shown(self.after)}"
        lines = [
            line
            for line in unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=0)
            if not line.startswith(("---", "+++", "@@"))
        ]
        return "\n  ".join((f"{self.field}:", *lines))


def _shown(value: str) -> str:
    """A value on one line; of a digest the beginning, as everywhere."""
    is_digest = len(value) == 2 * DIGEST_SIZE and not value.strip("0123456789abcdef")
    return (value[:12] if is_digest else value) or "(empty)"


@dataclass(frozen=True, slots=True)
class Cause:
    """A step whose own recipe changed (or that is new)."""

    derivation: DerivationId
    label: str
    new: bool
    changes: tuple[Change, ...]


def step_name(derivation: Derivation) -> StepName:
    """The name under which a step is looked for in another graph."""
    return (derivation.name, derivation.platform, derivation.builder.kind)


def _by_step(graph: DerivationGraph) -> dict[StepName, list[DerivationId]]:
    steps: dict[StepName, list[DerivationId]] = {}
    for each, derivation in graph.derivations.items():
        steps.setdefault(step_name(derivation), []).append(each)
    return steps


def _fields(graph: DerivationGraph, derivation: Derivation) -> dict[str, str]:
    """The walk, with inputs by the names of their steps: a change inside an input is that input's own.

    Inputs are told by name and not by number, so that one more of them is one difference and not one for each after it.
    """

    def resolve(each: Input) -> bytes:
        return "\0".join(step_name(graph.derivations[each.derivation])).encode()

    fields: dict[str, str] = {}
    order: list[str] = []
    for label, value in walk(derivation, resolve):
        if not label.startswith("input["):
            fields[label] = value
            continue
        name, platform, kind = bytes.fromhex(value).decode().split("\0")
        label = first = f"input {name}" + ("" if BUILDERS[kind].anonymous else f" ({kind})")
        for times in range(2, len(order) + 2):
            if label not in fields:
                break
            label = f"{first} #{times}"
        each = derivation.inputs[len(order)]
        below = f"/{each.subdir}" if each.subdir else ""
        fields[label] = f"{each.output}{below} for {platform} as {each.use} at {each.at}"
        order.append(label)
    fields[INPUT_ORDER] = "\n".join(order)
    return fields


def _changes(was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Change]:
    found = [
        Change.of(label, was.get(label), now.get(label))
        for label in dict.fromkeys((*was, *now))
        if was.get(label) != now.get(label)
    ]
    # That an input more or less moves the others goes without saying.
    moved_only = not any(each.field.startswith("input ") and None in (each.before, each.after) for each in found)
    return (each for each in found if each.field != INPUT_ORDER or moved_only)


def recipe_changes(
    before: DerivationGraph, old: Derivation, after: DerivationGraph, new: Derivation
) -> tuple[Change, ...]:
    """What differs between two recipes, leaving aside what differs inside their inputs."""
    return tuple(_changes(_fields(before, old), _fields(after, new)))


def causes(before: DerivationGraph, after: DerivationGraph) -> Iterator[Cause]:
    """The root causes of every difference, in build order. What is not listed changed only through its inputs."""
    known = _by_step(before)
    for each, derivation in after.derivations.items():
        if each in before.derivations:
            continue
        candidates = [old for old in known.get(step_name(derivation), []) if old not in after.derivations]
        if not candidates:
            yield Cause(each, derivation.label, True, ())
            continue
        changes = recipe_changes(before, before.derivations[candidates[0]], after, derivation)
        if changes:
            yield Cause(each, derivation.label, False, changes)


@dataclass(frozen=True, slots=True)
class Reach:
    """What follows from a root cause: how many steps depend on it, and how many of them only change through it."""

    dependents: int
    only: int
    """These are not built again if the output of the cause comes out as before."""


def consequences(after: DerivationGraph, roots: Mapping[DerivationId, Cause]) -> dict[DerivationId, Reach]:
    """How far each root cause reaches."""
    users = after.dependents()
    reached: dict[DerivationId, set[DerivationId]] = {}
    for root in roots:
        found = reached[root] = set()
        pending = list(users[root])
        while pending:
            each = pending.pop()
            if each not in found:
                found.add(each)
                pending.extend(users[each])
    times = Counter(each for found in reached.values() for each in found)
    return {
        root: Reach(len(found), sum(times[each] == 1 and each not in roots for each in found))
        for root, found in reached.items()
    }
