"""What a build will have to do, decided from one look at the store; ``--dry-run`` prints the very value that runs.

Early cutoff makes some answers conditional: a step whose inputs still have to be built may turn out to need no run at
all. The plan says which steps surely run and which may be cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nexis_eval.derivation import Derivation, Input, build_key
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

    @property
    def possible(self) -> int:
        """How many pending steps may yet be cut off."""
        return len(self.pending) - len(self.certain)


def resolve_inputs(derivation: Derivation, outputs: Mapping[DerivationId, Outputs]) -> BuildKey:
    """The build key of ``derivation``, all of whose inputs are in ``outputs``."""

    def resolve(each: Input) -> TreeDigest:
        return outputs[each.derivation][each.output]

    return build_key(derivation, resolve)


def make_plan(
    graph: DerivationGraph,
    roots: Iterable[DerivationId],
    by_id: Callable[[DerivationId], Realisation | None],
    by_key: Callable[[BuildKey], Realisation | None],
) -> Plan:
    """Walk down from ``roots`` only as far as something is not known to be done, then up again by build keys."""
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
        pending.extend(graph.derivations[each].dependencies())
    if not unknown:
        return Plan(done, {}, frozenset(), {})
    missing: dict[DerivationId, Derivation] = {}
    certain: set[DerivationId] = set()
    cut_off: dict[DerivationId, BuildKey] = {}
    for each, derivation in graph.derivations.items():
        if each not in unknown:
            continue
        if all(needed in done for needed in derivation.dependencies()):
            key = resolve_inputs(derivation, done)
            known = by_key(key)
            if known is not None:
                done[each] = known.outputs
                cut_off[each] = key
                continue
            certain.add(each)
        missing[each] = derivation
    return Plan(done, missing, frozenset(certain), cut_off)
