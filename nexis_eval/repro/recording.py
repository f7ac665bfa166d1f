"""Makes records from a store: what a system was built from and what came out."""

from __future__ import annotations

import os
import platform
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from nexis_eval.graph.closures import Closures, Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation, Local, Script
from nexis_eval.record import Record
from nexis_eval.repro.record import BuildRecord, RecordError, Step
from nexis_eval.schedule.plan import resolve_inputs
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.hashing import tree_of_path
from nexis_store.store import Store
from nexis_store.tree import Manifest

MAX_LOCAL_BYTES = 16 << 20
"""Local files beyond this are not embedded; repeating the build then needs them in their place."""


def make_record(
    store: Store,
    system: str,
    arch: str,
    graph: DerivationGraph,
    names: Sequence[str],
    roots: Sequence[DerivationId],
    environment: Mapping[str, str],
    mirrors: Mapping[str, tuple[str, ...]],
) -> BuildRecord:
    """Record what ``roots`` came out as; everything they need must be realised, or was chosen against."""
    derivations = graph.closure(roots)
    outputs: dict[DerivationId, Outputs] = {}
    for each in derivations:
        known = store.realised(each)
        if known is not None:
            outputs[each] = known.outputs
    missing = [derivations[each].label for each in roots if each not in outputs]
    if missing:
        raise RecordError(f"not built: {', '.join(missing)}", hint="'nexis-eval build' first")
    embedded = _locals(derivations.values())
    small = DerivationGraph(
        {each: _without_place(derivation, embedded) for each, derivation in derivations.items()},
        graph.targets.within(derivations).also(dict(zip(names, roots, strict=True))),
    )
    return BuildRecord(
        system=system,
        arch=arch,
        graph=small,
        steps=steps_of(derivations, outputs),
        manifests=_manifests(store, derivations, outputs),
        locals=embedded,
        environment=environment,
        mirrors=mirrors,
        roots=tuple(names),
    )


def steps_of(
    derivations: Mapping[DerivationId, Derivation], outputs: Mapping[DerivationId, Outputs]
) -> dict[DerivationId, Step]:
    """Build keys and outputs of every step whose inputs are known as well."""
    steps = {}
    closures = Closures(derivations, outputs)
    for each, derivation in derivations.items():
        if each in outputs and all(item.derivation in outputs for item in derivation.inputs):
            steps[each] = Step(resolve_inputs(derivation, closures), dict(outputs[each]))
    return steps


def from_build_record(store: Store, record: Record, system: str, arch: str) -> BuildRecord:
    """The record that a store keeps of its last build, with listings from that store."""
    return BuildRecord(
        system=system,
        arch=arch,
        graph=record.graph,
        steps=steps_of(record.graph.derivations, record.outputs),
        manifests=_manifests(store, record.graph.derivations, record.outputs),
    )


def _manifests(
    store: Store, derivations: Mapping[DerivationId, Derivation], outputs: Mapping[DerivationId, Outputs]
) -> dict[TreeDigest, Manifest]:
    wanted = [
        digest
        for each, derivation in derivations.items()
        if isinstance(derivation.builder, Script)
        for digest in outputs.get(each, {}).values()
    ]
    return {digest: store.manifest(digest) for digest in wanted if store.has(digest)}


def _without_place(derivation: Derivation, embedded: Container[TreeDigest]) -> Derivation:
    """Of the user's file only the name is kept if the record holds it: where it was is nobody's business."""
    builder = derivation.builder
    if not isinstance(builder, Local) or builder.tree not in embedded:
        return derivation
    return replace(derivation, builder=replace(builder, path=Path(builder.path).name))


def _locals(derivations: Iterable[Derivation]) -> dict[TreeDigest, dict[str, bytes]]:
    found: dict[TreeDigest, dict[str, bytes]] = {}
    for derivation in derivations:
        builder = derivation.builder
        if not isinstance(builder, Local) or builder.tree in found:
            continue
        path = Path(builder.path)
        manifest = tree_of_path(path)
        if manifest.digest != builder.tree or sum(entry.size for entry in manifest.entries()) > MAX_LOCAL_BYTES:
            continue
        top = path if path.is_dir() else path.parent
        contents = {entry.path: (top / entry.path).read_bytes() for entry in manifest.entries() if entry.kind == "f"}
        found[builder.tree] = {"": manifest.encode(), **contents}
    return found


def this_environment() -> dict[str, str]:
    """What the record tells about the machine; never compared."""
    return {
        "engine": f"nexis-eval {version('nexisos')}",
        "python": platform.python_version(),
        "kernel": os.uname().release,
        "machine": os.uname().machine,
        "processors": str(len(os.sched_getaffinity(0))),
    }
