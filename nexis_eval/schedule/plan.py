"""What a build will have to do, decided from one look at the store; ``--dry-run`` prints the very value that runs.

Early cutoff makes some answers conditional: a step whose inputs still have to be built may turn out to need no run at
all. The plan says which steps surely run and which may be cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from nexis_eval.graph.closures import Closures, Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Choice, Derivation, Input, Use, build_key
from nexis_store.digest import BuildKey, DerivationId
from nexis_store.realisation import Realisation


@dataclass(frozen=True, slots=True)
class Plan:
    """``done`` maps finished steps to their outputs; ``pending`` is the rest, inputs first.

    ``certain`` are the pending steps whose inputs are all known and whose build key the store does not have.
    """

    done: Mapping[DerivationId, Outputs]
    pending: Mapping[DerivationId, Derivation]
    certain: frozenset[DerivationId]
    cut_off: Mapping[DerivationId, BuildKey]
    """Steps that are done although their recipe is new: their inputs came out as before, and so their build key."""
    unavailable: Mapping[DerivationId, str] = field(default_factory=dict)
    """Alternatives of choices that were tried and could not be had, and why."""

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
    ) -> None:
        self._derivations = graph.derivations
        self._by_id = by_id
        self._unavailable = unavailable
        self.done: dict[DerivationId, Outputs] = {}
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
                known = self._by_id(each)
                if known is None:
                    self._doubt(each)
                else:
                    self.done[each] = known.outputs

    def _doubt(self, each: DerivationId) -> None:
        self.done.pop(each, None)
        self.unknown.add(each)
        self._doubtful.append(each)

    def _closures(self, pending: list[DerivationId]) -> None:
        while pending:
            each = pending[-1]
            if each in self._settled or each in self.unknown:
                pending.pop()
                continue
            known = self._by_id(each)
            behind = self._derivations[each].propagates
            if known is None or not self.unknown.isdisjoint(behind):
                self._doubt(each)
            elif missing := [item for item in behind if item not in self._settled]:
                pending.extend(missing)
            else:
                self._settled.add(each)
                self.done[each] = known.outputs


def make_plan(
    graph: DerivationGraph,
    roots: Iterable[DerivationId],
    by_id: Callable[[DerivationId], Realisation | None],
    by_key: Callable[[BuildKey], Realisation | None],
    unavailable: Mapping[DerivationId, str] | None = None,
) -> Plan:
    """Walk down from ``roots`` only as far as something is not known to be done, then up again by build keys."""
    unavailable = unavailable or {}
    exploration = _Exploration(graph, by_id, unavailable)
    exploration.explore(roots)
    done, unknown = exploration.done, exploration.unknown
    if not unknown:
        return Plan(done, {}, frozenset(), {}, unavailable)
    missing: dict[DerivationId, Derivation] = {}
    certain: set[DerivationId] = set()
    cut_off: dict[DerivationId, BuildKey] = {}
    closures = Closures(graph.derivations, done)
    for each in graph.derivations:
        if each not in unknown:
            continue
        derivation = graph.derivations[each]
        if all(needed in done for needed in needs(derivation, unavailable)):
            key = resolve_inputs(derivation, closures, unavailable)
            known = by_key(key)
            if known is not None:
                done[each] = known.outputs
                cut_off[each] = key
                continue
            certain.add(each)
        missing[each] = derivation
    return Plan(done, missing, frozenset(certain), cut_off, unavailable)
