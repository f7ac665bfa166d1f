"""Script derivations as recipes that can be built again with their inputs from a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nexis_eval.execute.action import Action, action_of, identity_of
from nexis_eval.execute.land import land
from nexis_eval.execute.staging import stage
from nexis_eval.graph.closures import Closures
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation, Script
from nexis_eval.sandbox.spec import Identity, Limits, SandboxSpec
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.store import Store


@dataclass(frozen=True, slots=True)
class ScriptRecipe:
    """One script derivation, the store that has its inputs, and what these came out as."""

    derivation: Derivation
    script: Script
    store: Store
    closures: Closures
    limits: Limits = field(default_factory=Limits)

    @property
    def label(self) -> str:
        """``name-version``."""
        return self.derivation.label

    @property
    def action(self) -> Action:
        """What running it is."""
        return action_of(self.derivation, self.script, self.closures.trees, limits=self.limits)

    @property
    def identity(self) -> Identity:
        """Who the build is when nothing is varied."""
        return identity_of(self.script)

    def stage(self, directory: Path, identity: Identity, jobs: int, run_time: Mapping[str, str]) -> SandboxSpec:
        """Lay out ``directory`` and describe the sandbox."""
        return stage(replace(self.action, identity=identity), self.store, directory, jobs=jobs, run_time=run_time)

    def land(self, store: Store, directory: Path, *, move: bool) -> Mapping[str, TreeDigest]:
        """Take the outputs into ``store``; references are no part of a tree and are left out."""
        return land(store, self.action, directory, move=move)


def script_steps(graph: DerivationGraph, roots: Iterable[DerivationId], *, whole: bool) -> list[DerivationId]:
    """The steps that run scripts: all that ``roots`` need if ``whole``, else the roots or what is just below them.

    In build order. A root that merely merges or unpacks stands for the scripts that it is made from.
    """
    if whole:
        closure = graph.closure(roots)
        return [each for each, derivation in closure.items() if isinstance(derivation.builder, Script)]
    found: set[DerivationId] = set()
    seen: set[DerivationId] = set()
    pending = list(roots)
    while pending:
        each = pending.pop()
        if each in seen:
            continue
        seen.add(each)
        derivation = graph.derivations[each]
        if isinstance(derivation.builder, Script):
            found.add(each)
        else:
            pending.extend(item.derivation for item in derivation.inputs)
    return [each for each in graph.derivations if each in found]
