"""The derivation graph: pure data, acyclic by construction, inputs before their users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from nexis_eval.derivation import Derivation, Input, Use, derivation_id
from nexis_store.digest import DerivationId
from nexis_store.errors import Place


@dataclass(frozen=True, slots=True)
class DerivationGraph:
    """All steps of a system. ``derivations`` is in topological order, inputs first."""

    derivations: Mapping[DerivationId, Derivation]
    targets: Mapping[str, DerivationId]
    """What a person can name: packages by their names, and ``system``, ``rootfs``, ``kernel``, ``iso`` …"""
    origins: Mapping[DerivationId, Place] = field(default_factory=dict)
    """Where the configuration asked for it; no part of any identity."""

    def closure(self, roots: Iterable[DerivationId]) -> dict[DerivationId, Derivation]:
        """Everything that ``roots`` need, in topological order."""
        wanted: set[DerivationId] = set()
        pending = list(roots)
        while pending:
            current = pending.pop()
            if current in wanted:
                continue
            wanted.add(current)
            pending.extend(self.derivations[current].dependencies())
        if len(wanted) == len(self.derivations):
            return dict(self.derivations)
        return {each: derivation for each, derivation in self.derivations.items() if each in wanted}

    def dependents(self) -> dict[DerivationId, list[DerivationId]]:
        """For each derivation those that use it directly."""
        users: dict[DerivationId, list[DerivationId]] = {each: [] for each in self.derivations}
        for each, derivation in self.derivations.items():
            for needed in set(derivation.dependencies()):
                users[needed].append(each)
        return users


class GraphBuilder:
    """Collects derivations while the configuration is turned into a graph."""

    def __init__(self) -> None:
        self._derivations: dict[DerivationId, Derivation] = {}
        self._targets: dict[str, DerivationId] = {}
        self._origins: dict[DerivationId, Place] = {}

    def add(self, derivation: Derivation, place: Place | None = None) -> DerivationId:
        """Add a derivation, all of whose inputs were added before; returns its id. Adding it twice is one node."""
        for needed in derivation.dependencies():
            if needed not in self._derivations:
                raise KeyError(f"input {needed!r} of {derivation.name} is not in the graph")
        identity = derivation_id(derivation)
        self._derivations.setdefault(identity, derivation)
        if place is not None:
            self._origins.setdefault(identity, place)
        return identity

    def target(self, name: str, identity: DerivationId) -> None:
        """Let a person call ``identity`` by ``name``."""
        self._targets[name] = identity

    def find(self, target: str) -> DerivationId | None:
        """The target called ``target``, if there is one."""
        return self._targets.get(target)

    def __getitem__(self, identity: DerivationId) -> Derivation:
        return self._derivations[identity]

    def finish(self) -> DerivationGraph:
        """The finished graph."""
        return DerivationGraph(dict(self._derivations), dict(self._targets), dict(self._origins))


def layers(identities: Iterable[DerivationId], at: str = "/", subdir: str = "") -> Iterator[Input]:
    """Inputs that stack ``identities`` as layers at ``at``."""
    for identity in identities:
        yield Input(identity, Use.LAYER, at, subdir=subdir)
