"""What a build will have to do, decided from one look at the store; ``--dry-run`` prints the very value that runs.

Early cutoff makes some answers conditional: a step whose inputs still have to be built may turn out to need no run at
all. The plan says which steps surely run and which may be cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from nexis_eval.derivation import Choice, Derivation, Input, build_key
from nexis_eval.graph import DerivationGraph
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation

Outputs = Mapping[str, TreeDigest]


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
    outputs: Mapping[DerivationId, Outputs],
    unavailable: Mapping[DerivationId, str] | None = None,
) -> BuildKey:
    """The build key of ``derivation``, all of whose needed inputs are in ``outputs``."""
    if isinstance(derivation.builder, Choice):
        derivation = replace(derivation, inputs=(chosen(derivation, unavailable or {}),))

    def resolve(each: Input) -> TreeDigest:
        return outputs[each.derivation][each.output]

    return build_key(derivation, resolve)


def done_plan(roots: Iterable[DerivationId], by_id: Callable[[DerivationId], Realisation | None]) -> Plan | None:
    """The plan of a system that is finished, for which the graph is not even needed; ``None`` if something is not."""
    done: dict[DerivationId, Outputs] = {}
    for each in roots:
        known = by_id(each)
        if known is None:
            return None
        done[each] = known.outputs
    return Plan(done, {}, frozenset(), {})


def make_plan(
    graph: DerivationGraph,
    roots: Iterable[DerivationId],
    by_id: Callable[[DerivationId], Realisation | None],
    by_key: Callable[[BuildKey], Realisation | None],
    unavailable: Mapping[DerivationId, str] | None = None,
) -> Plan:
    """Walk down from ``roots`` only as far as something is not known to be done, then up again by build keys."""
    unavailable = unavailable or {}
    done: dict[DerivationId, Outputs] = {}
    unknown: set[DerivationId] = set()
    pending = list(roots)
    while pending:
        each = pending.pop()
        if each in done or each in unknown:
            continue
        known = by_id(each)
        if known is not None:
            done[each] = known.outputs
            continue
        unknown.add(each)
        pending.extend(needs(graph.derivations[each], unavailable))
    if not unknown:
        return Plan(done, {}, frozenset(), {}, unavailable)
    missing: dict[DerivationId, Derivation] = {}
    certain: set[DerivationId] = set()
    cut_off: dict[DerivationId, BuildKey] = {}
    for each, derivation in graph.derivations.items():
        if each not in unknown:
            continue
        if all(needed in done for needed in needs(derivation, unavailable)):
            key = resolve_inputs(derivation, done, unavailable)
            known = by_key(key)
            if known is not None:
                done[each] = known.outputs
                cut_off[each] = key
                continue
            certain.add(each)
        missing[each] = derivation
    return Plan(done, missing, frozenset(certain), cut_off, unavailable)
