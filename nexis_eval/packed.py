"""Derivations in their canonical encoding, one behind the other: a graph of which little is ever decoded. Pure.

A configuration of 10,000 packages has 20,000 derivations, and a command looks at a few of them. So they are kept as
bytes in a handful of arrays, 8 MB for all of them, and remembering an evaluation is a matter of copying these.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from nexis_eval.derivation import Derivation
from nexis_eval.derivation_encoding import HEAD, Call, decode, identity, split
from nexis_store.digest import DIGEST_SIZE, DerivationId

Dump = tuple[Any, Any, Any, Any, Any, dict[int, bytes], list[int]]
"""Ids; recipes and where each ends; what nodes name and where that ends; notes; shared nodes."""

Node = tuple[bytes, Sequence[int], bytes]
"""Recipe, what it names, notes."""


def no_call(arguments: tuple[str, ...]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """For graphs in which no rule is called."""
    raise ValueError(f"no rule is known for the call of {arguments[:1]}")


class Nodes:
    """Recipes and what they name, by number: a node comes after those it names."""

    __slots__ = ("_ends", "_needs", "_needs_ends", "_notes", "_text", "ids", "index", "shared")

    def __init__(self) -> None:
        self.ids: list[DerivationId] = []
        self.index: dict[DerivationId, int] = {}
        self._text = bytearray()
        self._ends = array("I")
        self._needs = array("I")
        self._needs_ends = array("I")
        self._notes: dict[int, bytes] = {}
        self.shared: set[int] = set()
        """Nodes that were added more than once."""

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, recipe: bytes, needs: Sequence[int], notes: bytes = b"") -> int:
        """Append a node, unless there is one with the same identity; returns its number."""
        ids = self.ids
        each = identity(recipe, [ids[number] for number in needs])
        number = len(ids)
        known = self.index.setdefault(each, number)
        if known != number:
            self.shared.add(known)
            return known
        ids.append(each)
        self._text += recipe
        self._ends.append(len(self._text))
        self._needs.extend(needs)
        self._needs_ends.append(len(self._needs))
        if notes:
            self._notes[number] = notes
        return number

    def dump(self) -> Dump:
        """Everything as a few plain values, which share memory with the nodes: write them, and forget them."""
        return (
            b"".join(self.ids),
            self._text,
            self._ends,
            self._needs,
            self._needs_ends,
            self._notes,
            [*self.shared],
        )

    @classmethod
    def load(cls, dump: Dump) -> Nodes:
        """The inverse of ``dump``, for what was dumped on this machine; nothing can be added to it."""
        nodes = cls()
        ids, text, ends, needs, needs_ends, nodes._notes, shared = dump
        nodes.shared = set(shared)
        nodes._text = text
        nodes._ends.frombytes(ends)
        nodes._needs.frombytes(needs)
        nodes._needs_ends.frombytes(needs_ends)
        slices = [ids[start : start + DIGEST_SIZE] for start in range(0, len(ids), DIGEST_SIZE)]
        nodes.ids = [*map(partial(bytes.__new__, DerivationId), slices)]
        nodes.index = {each: number for number, each in enumerate(nodes.ids)}
        return nodes

    def recipe(self, number: int) -> bytes:
        """The recipe of a node."""
        return bytes(self._text[self._ends[number - 1] if number else 0 : self._ends[number]])

    def notes(self, number: int) -> bytes:
        """What belongs to a node and is no part of its identity."""
        return self._notes.get(number, b"")

    def needs(self, number: int) -> Sequence[int]:
        """The nodes that a node names, in the order of its recipe."""
        return self._needs[self._needs_ends[number - 1] if number else 0 : self._needs_ends[number]]

    def replaced(self, new: Mapping[int, Node]) -> Nodes | None:
        """The same graph with other recipes in some places; ``None`` if two nodes come to be the same by that.

        Nodes keep their numbers. Those that depend on what is new get new identities, the rest is copied.
        """
        made = Nodes()
        made.shared, made._notes = set(self.shared), dict(self._notes)
        made.ids = [*self.ids]
        self._copy_into(made, new)
        for number, (_, _, notes) in new.items():
            made._notes.pop(number, None)
            if notes:
                made._notes[number] = notes
        changed: set[int] = set()
        ids = made.ids
        for number in range(min(new, default=len(self)), len(self)):
            needs = made.needs(number)
            if number in new or not changed.isdisjoint(needs):
                each = identity(made.recipe(number), [ids[item] for item in needs])
                if each != ids[number]:
                    ids[number] = each
                    changed.add(number)
        made.index = {each: number for number, each in enumerate(ids)}
        return made if len(made.index) == len(ids) else None

    def _copy_into(self, made: Nodes, new: Mapping[int, Node]) -> None:
        start = text_start = needs_start = 0
        for number in (*sorted(new), len(self)):
            text_end, needs_end = self._starts(number)
            text_shift, needs_shift = len(made._text) - text_start, len(made._needs) - needs_start
            made._text += self._text[text_start:text_end]
            made._needs += self._needs[needs_start:needs_end]
            made._ends.extend([end + text_shift for end in self._ends[start:number]])
            made._needs_ends.extend([end + needs_shift for end in self._needs_ends[start:number]])
            if number in new:
                recipe, needs, _ = new[number]
                made._text += recipe
                made._needs.extend(needs)
                made._ends.append(len(made._text))
                made._needs_ends.append(len(made._needs))
                start = number + 1
                text_start, needs_start = self._starts(start)

    def _starts(self, number: int) -> tuple[int, int]:
        return (self._ends[number - 1], self._needs_ends[number - 1]) if number else (0, 0)

    def order(self, first: Iterable[int]) -> Iterator[int]:
        """All nodes, each after those it names: what ``first`` need, one after the other, then the rest as added.

        The order depends on what the nodes are, and not on how they came in.
        """
        done = bytearray(len(self))
        for root in (*first, *range(len(self))):
            pending = [root]
            while pending:
                each = pending[-1]
                if done[each]:
                    pending.pop()
                    continue
                missing = [item for item in self.needs(each) if not done[item]]
                if missing:
                    pending.extend(reversed(missing))
                else:
                    pending.pop()
                    done[each] = 1
                    yield each


class PackedDerivations(Mapping[DerivationId, Derivation]):
    """Derivations that are decoded when they are looked at. ``first`` are the nodes that come first in their order."""

    def __init__(self, nodes: Nodes, first: Iterable[int] = (), call: Call = no_call) -> None:
        self.nodes = nodes
        self._first = first
        self.call = call
        self._order: list[DerivationId] | None = None
        self._decoded: dict[DerivationId, Derivation] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, each: object) -> bool:
        return each in self.nodes.index

    def __iter__(self) -> Iterator[DerivationId]:
        if self._order is None:
            self._order = [self.nodes.ids[number] for number in self.nodes.order(self._first)]
        return iter(self._order)

    def __getitem__(self, each: DerivationId) -> Derivation:
        known = self._decoded.get(each)
        if known is None:
            nodes, number = self.nodes, self.nodes.index[each]
            ids = tuple([nodes.ids[item] for item in nodes.needs(number)])
            known = decode(nodes.recipe(number), nodes.notes(number), ids, self.call)
            self._decoded[each] = known
        return known

    def head(self, each: DerivationId) -> list[str]:
        """Kind of builder, name, version and platform of a derivation, without decoding the rest."""
        nodes = self.nodes
        return split(nodes.recipe(nodes.index[each]))[:HEAD]

    def needs(self, each: DerivationId) -> list[DerivationId]:
        """What a derivation names, without decoding it."""
        nodes = self.nodes
        return [nodes.ids[number] for number in nodes.needs(nodes.index[each])]
