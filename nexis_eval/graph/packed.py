"""Derivations in their canonical encoding, one behind the other: a graph of which little is ever decoded. Pure.

A configuration of 10,000 packages has 20,000 derivations, and a command looks at a few of them. So they are kept as
bytes in a handful of arrays, 8 MB for all of them, and remembering an evaluation is a matter of copying these.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from nexis_eval.graph.builders import Call
from nexis_eval.graph.derivation import Derivation
from nexis_eval.graph.encoding import Head, decode, head_of, identity
from nexis_store.digest import DIGEST_SIZE, DerivationId

Dump = tuple[Any, Any, Any, Any, Any, dict[int, bytes], list[int], list[int]]
"""Ids; recipes and where each ends; what nodes name and where that ends; notes; shared and contested nodes."""

NOWHERE = 0xFFFFFFFF
"""The place of a node that is left out."""

Node = tuple[bytes, Sequence[int], bytes]
"""Recipe, what it names, notes."""


def no_call(arguments: tuple[str, ...]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """For graphs in which no rule is called."""
    raise ValueError(f"no rule is known for the call of {arguments[:1]}")


class Nodes:
    """Recipes and what they name, by number: a node comes after those it names."""

    __slots__ = ("_ends", "_needs", "_needs_ends", "_notes", "_text", "contested", "ids", "index", "shared")

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
        self.contested: set[int] = set()
        """Those of them that were added with different notes; the first in alphabetical order are kept."""

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
            if notes != self._notes.get(known, b""):
                self.contested.add(known)
                self._notes[known] = min(notes, self._notes.get(known, notes))
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
            [*self.contested],
        )

    @classmethod
    def load(cls, dump: Dump) -> Nodes:
        """The inverse of ``dump``, for what was dumped on this machine; nothing can be added to it."""
        nodes = cls()
        ids, text, ends, needs, needs_ends, nodes._notes, shared, contested = dump
        nodes.shared, nodes.contested = set(shared), set(contested)
        nodes._text = text
        nodes._ends.frombytes(ends)
        nodes._needs.frombytes(needs)
        nodes._needs_ends.frombytes(needs_ends)
        slices = chain.from_iterable(struct.iter_unpack(f"{DIGEST_SIZE}s", ids))
        nodes.ids = [*map(partial(bytes.__new__, DerivationId), slices)]
        nodes.index = dict(zip(nodes.ids, range(len(nodes.ids)), strict=True))
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

    def arranged(self, runs: Sequence[range], added: Sequence[Node], moved: Mapping[int, int]) -> Arranged | None:
        """Another graph: nodes of this one and ``added`` ones (numbered on from these) in the order of ``runs``.

        What named a node of ``moved`` names what that maps to. A node's identity is made anew where it depends on what
        was added. ``None`` if a node names one that is not before it, or if two are the same.
        """
        made, count = Nodes(), len(self._ends)
        place = array("I", [NOWHERE]) * (count + len(added))
        fresh: list[tuple[int, int, Sequence[int]]] = []
        same = True
        for run in runs:
            start, stop, here = run.start, run.stop, len(made.ids)
            if start >= count:
                for number in run:
                    recipe, needs, _ = added[number - count]
                    fresh.append((len(made.ids), len(made._needs), needs))
                    made.ids.append(self.ids[number])
                    made._text += recipe
                    made._ends.append(len(made._text))
                    made._needs.extend(needs)
                    made._needs_ends.append(len(made._needs))
            else:
                text_start, needs_start = self._starts(start)
                text_end, needs_end = self._starts(stop)
                made._ends += _shifted(self._ends[start:stop], len(made._text) - text_start)
                made._needs_ends += _shifted(self._needs_ends[start:stop], len(made._needs) - needs_start)
                made.ids += self.ids[start:stop]
                made._text += memoryview(self._text)[text_start:text_end]
                made._needs += self._needs[needs_start:needs_end]
                same = same and here == start
            place[start:stop] = array("I", range(here, here + len(run)))
        # Mostly all that stays keeps its number, and what is new has that of what it replaces.
        renumbered = not same or any(place[other] != number for number, other in moved.items())
        if renumbered:
            named = place[:]
            for number, other in moved.items():
                named[number] = place[other]
            made._needs = array("I", map(named.__getitem__, made._needs))
        for _, start, needs in fresh:
            made._needs[start : start + len(needs)] = array("I", map(place.__getitem__, needs))
        if max(made._needs, default=-1) >= len(made.ids):
            # Some node names one that is left out.
            return None
        kept = {place[number]: notes for number, notes in self._notes.items()}
        kept.update({place[count + index]: notes for index, (_, _, notes) in enumerate(added) if notes})
        kept.pop(NOWHERE, None)
        made._notes = kept
        made.shared = {place[number] for number in self.shared} - {NOWHERE}
        made.contested = {place[number] for number in self.contested} - {NOWHERE}
        instead = {place[number] for number in moved.values()}
        if not made._identify({number for number, _, _ in fresh}, instead, in_order=not renumbered):
            return None
        return Arranged(made, place, same)

    def _identify(self, new: Set[int], changed: set[int], *, in_order: bool) -> bool:
        """Make the identities of ``new`` nodes, and of all that depend on them or on what else ``changed``.

        ``in_order`` says that all but ``new`` nodes are known to stand after what they name. Returns whether that could
        be done.
        """
        ids, ends, needs_ends, all_needs = self.ids, self._ends, self._needs_ends, self._needs
        text = memoryview(self._text)
        first = min(new | changed, default=len(ids))
        start, needs_start = self._starts(first)
        for number in range(first, len(ids)):
            end, needs_end = ends[number], needs_ends[number]
            needs = all_needs[needs_start:needs_end]
            if number in new or not changed.isdisjoint(needs):
                if needs and not (in_order and number not in new) and max(needs) >= number:
                    return False
                each = identity(text[start:end], [ids[item] for item in needs])
                if number in new or each != ids[number]:
                    ids[number] = each
                    changed.add(number)
            start, needs_start = end, needs_end
        text.release()
        self.index = dict(zip(ids, range(len(ids)), strict=True))
        return len(self.index) == len(ids)

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


class Arranged(NamedTuple):
    """A graph that was made out of another one."""

    nodes: Nodes
    place: Sequence[int]
    """The new number of each node; ``NOWHERE`` for those left out."""
    same: bool
    """Whether all that stays has the number that it had."""


def _shifted(ends: array[int], shift: int) -> array[int]:
    return array("I", [end + shift for end in ends]) if shift else ends


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

    def head(self, each: DerivationId) -> Head:
        """What a derivation is, without decoding the rest."""
        nodes = self.nodes
        return head_of(nodes.recipe(nodes.index[each]))

    def needs(self, each: DerivationId) -> list[DerivationId]:
        """What a derivation names, without decoding it."""
        nodes = self.nodes
        return [nodes.ids[number] for number in nodes.needs(nodes.index[each])]
