"""What a build will have to do, decided from one look at the store; ``--dry-run`` prints the very value that runs.

Early cutoff makes some answers conditional: a step whose inputs still have to be built may turn out to need no run at
all. The plan says which steps surely run and which may be cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from nexis_eval.graph.closures import Closures, Outputs, visible
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Choice, Derivation, Input, Use, build_key
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.substituters.base import Offer


@dataclass(frozen=True, slots=True)
class Plan:
    """``done`` maps finished steps to their outputs; ``pending`` is the rest, inputs first.

    ``certain`` are the pending steps whose inputs are all known and whose build key nobody has.
    """

    done: Mapping[DerivationId, Outputs]
    pending: Mapping[DerivationId, Derivation]
    certain: frozenset[DerivationId]
    cut_off: Mapping[DerivationId, BuildKey]
    """Steps that are done although their recipe is new: their inputs came out as before, and so their build key."""
    unavailable: Mapping[DerivationId, str] = field(default_factory=dict)
    """Alternatives of choices that were tried and could not be had, and why."""
    elsewhere: Mapping[DerivationId, Offer] = field(default_factory=dict)
    """Steps that are done, with outputs that the store lacks and a source has."""
    read: frozenset[DerivationId] = frozenset()
    """Those of them that a root or a pending step reads: only these are fetched, and only when they are read."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.pending and not self.read

    @property
    def outputs(self) -> dict[DerivationId, Outputs]:
        """What the steps came out as that are done, wherever their outputs are."""
        return {**self.done, **{each: offer.outputs for each, offer in self.elsewhere.items()}}

    @property
    def possible(self) -> int:
        """How many pending steps may yet be cut off."""
        return len(self.pending) - len(self.certain)

    def needs(self, derivation: Derivation) -> Iterator[DerivationId]:
        """What must be realised before ``derivation``: of a choice only the alternative that is chosen."""
        return needs(derivation, self.unavailable)


def chosen(derivation: Derivation, unavailable: Mapping[DerivationId, str]) -> Input:
    """The alternative that a choice takes; the last one when all others are unavailable."""
    usable = (each for each in derivation.inputs[:-1] if each.derivation not in unavailable)
    return next(usable, derivation.inputs[-1])


def needs(derivation: Derivation, unavailable: Mapping[DerivationId, str]) -> Iterator[DerivationId]:
    """What must be realised before ``derivation``."""
    if isinstance(derivation.builder, Choice):
        yield chosen(derivation, unavailable).derivation
        yield from derivation.runtime
    else:
        yield from derivation.dependencies()


def reads(
    derivations: Mapping[DerivationId, Derivation], derivation: Derivation, unavailable: Mapping[DerivationId, str]
) -> Iterator[DerivationId]:
    """Yield the steps whose outputs must be present when ``derivation`` runs."""
    yield from needs(derivation, unavailable)
    if any(item.use is Use.CLOSURE for item in derivation.inputs):
        yield from visible(derivations, derivation)


def resolve_inputs(
    derivation: Derivation,
    closures: Closures,
    unavailable: Mapping[DerivationId, str] | None = None,
) -> BuildKey:
    """The build key of ``derivation``; raises ``KeyError`` if ``closures`` lacks outputs of something that it needs."""
    if isinstance(derivation.builder, Choice):
        derivation = replace(derivation, inputs=(chosen(derivation, unavailable or {}),))
    return build_key(derivation, closures.digest)


def done_plan(roots: Iterable[DerivationId], by_id: Callable[[DerivationId], Realisation | None]) -> Plan | None:
    """The plan of a system that is finished, for which the graph is not even needed; ``None`` if something is not."""
    done: dict[DerivationId, Outputs] = {}
    for each in roots:
        known = by_id(each)
        if known is None:
            return None
        done[each] = known.outputs
    return Plan(done, {}, frozenset(), {})


class Elsewhere(Protocol):
    """What may be had from somewhere else (``nexis_store.substituters.base.Sources``)."""

    def recipe(self, derivation: DerivationId) -> Offer | None:
        """Return the offer of what a recipe is known to have come out as, although that is not present."""
        ...

    def query(self, keys: Mapping[BuildKey, TreeDigest | None]) -> Mapping[BuildKey, Offer]:
        """Return what is offered of ``keys``, each with the one tree that its recipe declares, if it does."""
        ...


class _Exploration:
    """Finds what is done, and what is not known to be, as far as some roots need it.

    What is done is not looked behind, but for closures: who builds against something sees what that propagates, so if
    any of this is not known, neither is what propagates it.
    """

    def __init__(
        self,
        graph: DerivationGraph,
        by_id: Callable[[DerivationId], Realisation | None],
        unavailable: Mapping[DerivationId, str],
        elsewhere: Elsewhere | None,
    ) -> None:
        self._derivations = graph.derivations
        self._by_id = by_id
        self._unavailable = unavailable
        self._elsewhere = elsewhere
        self.done: dict[DerivationId, Outputs] = {}
        """Wherever the outputs are."""
        self.offers: dict[DerivationId, Offer] = {}
        self.unknown: set[DerivationId] = set()
        self._settled: set[DerivationId] = set()
        """Done, and so is all that they propagate."""
        self._doubtful: list[DerivationId] = []
        """Unknown, and what they need was not yet looked at."""

    def explore(self, roots: Iterable[DerivationId]) -> None:
        """Walk down from ``roots``."""
        pending = list(roots)
        while pending or self._doubtful:
            if self._doubtful:
                derivation = self._derivations[self._doubtful.pop()]
                pending.extend(needs(derivation, self._unavailable))
                self._closures([each.derivation for each in derivation.inputs if each.use is Use.CLOSURE])
                continue
            each = pending.pop()
            if each not in self.done and each not in self.unknown:
                outputs = self._outputs(each)
                if outputs is None:
                    self._doubt(each)
                else:
                    self.done[each] = outputs

    def _outputs(self, each: DerivationId) -> Outputs | None:
        realisation = self._by_id(each)
        if realisation is not None:
            return realisation.outputs
        if each not in self.offers and self._elsewhere is not None:
            offer = self._elsewhere.recipe(each)
            if offer is not None:
                self.offers[each] = offer
        return self.offers[each].outputs if each in self.offers else None

    def _doubt(self, each: DerivationId) -> None:
        self.done.pop(each, None)
        self.offers.pop(each, None)
        self.unknown.add(each)
        self._doubtful.append(each)

    def _closures(self, pending: list[DerivationId]) -> None:
        while pending:
            each = pending[-1]
            if each in self._settled or each in self.unknown:
                pending.pop()
                continue
            outputs = self._outputs(each)
            behind = self._derivations[each].propagates
            if outputs is None or not self.unknown.isdisjoint(behind):
                self._doubt(each)
            elif missing := [item for item in behind if item not in self._settled]:
                pending.extend(missing)
            else:
                self._settled.add(each)
                self.done[each] = outputs


def make_plan(
    graph: DerivationGraph,
    roots: Iterable[DerivationId],
    by_id: Callable[[DerivationId], Realisation | None],
    by_key: Callable[[BuildKey], Realisation | None],
    unavailable: Mapping[DerivationId, str] | None = None,
    elsewhere: Elsewhere | None = None,
) -> Plan:
    """Walk down from ``roots`` only as far as something is not known to be done, then up again by build keys.

    ``by_id`` and ``by_key`` tell what is present, ``elsewhere`` what is not but can be fetched.
    """
    unavailable = unavailable or {}
    roots = [*roots]
    exploration = _Exploration(graph, by_id, unavailable, elsewhere)
    exploration.explore(roots)
    outputs, offers, unknown = exploration.done, exploration.offers, exploration.unknown
    missing: set[DerivationId] = set()
    certain: set[DerivationId] = set()
    cut_off: dict[DerivationId, BuildKey] = {}
    closures = Closures(graph.derivations, outputs)
    for level in _levels(graph, unknown, unavailable) if elsewhere is not None else [_ordered(graph, unknown)]:
        keys: dict[DerivationId, BuildKey] = {}
        for each in level:
            derivation = graph.derivations[each]
            if any(item not in outputs for item in needs(derivation, unavailable)):
                missing.add(each)
                continue
            keys[each] = key = resolve_inputs(derivation, closures, unavailable)
            realisation = by_key(key)
            if realisation is not None:
                outputs[each] = realisation.outputs
                cut_off[each] = keys.pop(each)
        declared = {key: graph.derivations[each].builder.declared_tree() for each, key in keys.items()}
        answers = elsewhere.query(declared) if elsewhere is not None and declared else {}
        for each, key in keys.items():
            if key in answers:
                offers[each] = answers[key]
                outputs[each] = answers[key].outputs
            else:
                missing.add(each)
                certain.add(each)
    pending = {each: graph.derivations[each] for each in _ordered(graph, missing)}
    read: set[DerivationId] = set()
    if offers:
        read.update(roots)
        for derivation in pending.values():
            read.update(reads(graph.derivations, derivation, unavailable))
        read.intersection_update(offers)
    done = {each: item for each, item in outputs.items() if each not in offers}
    return Plan(done, pending, frozenset(certain), cut_off, unavailable, offers, frozenset(read))


def _ordered(graph: DerivationGraph, steps: set[DerivationId]) -> list[DerivationId]:
    """Return ``steps`` with inputs before their users."""
    return [each for each in graph.derivations if each in steps] if steps else []


def _levels(
    graph: DerivationGraph, steps: set[DerivationId], unavailable: Mapping[DerivationId, str]
) -> list[list[DerivationId]]:
    """Return ``steps`` in groups, each of which needs only earlier ones: one query of sources serves a group."""
    level: dict[DerivationId, int] = {}
    groups: list[list[DerivationId]] = []
    for each in _ordered(graph, steps):
        needed = needs(graph.derivations[each], unavailable)
        level[each] = 1 + max((level[item] for item in needed if item in level), default=-1)
        if level[each] == len(groups):
            groups.append([])
        groups[level[each]].append(each)
    return groups
