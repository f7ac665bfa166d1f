"""The build record: what a system was built from and what each step came out as, kept as an artifact of the store.

It references every tree that took part, so that one root keeps a system and everything needed to rebuild it quickly;
it is what ``why-rebuild`` and ``repro diff`` compare with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nexis_eval.graph.closures import Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.json import graph_from_json, graph_to_json
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.store import Store

FILE = "record.json"


@dataclass(frozen=True, slots=True)
class Record:
    """A graph and the outputs of its steps."""

    graph: DerivationGraph
    outputs: Mapping[DerivationId, Outputs]


def root_name(system: str, arch: str, target: str = "") -> str:
    """The GC root that keeps the last build of a system for an architecture, or of one target that was built alone."""
    return f"builds/{system}-{arch}" + (f":{target}" if target else "")


def encode(record: Record) -> str:
    """The record as JSON text, the same for the same record."""
    value = graph_to_json(record.graph)
    value["outputs"] = {
        str(each): {name: str(digest) for name, digest in sorted(outputs.items())}
        for each, outputs in sorted(record.outputs.items())
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n"


def decode(text: str) -> Record:
    """The inverse of ``encode``; raises ``ValueError`` for anything else: another version may have written it."""
    try:
        value = json.loads(text)
        outputs = {
            DerivationId.parse(each): {name: TreeDigest.parse(digest) for name, digest in item.items()}
            for each, item in value["outputs"].items()
        }
        # Sorting the members for a canonical text loses the topological order: put it back.
        return Record(_in_order(graph_from_json(value)), outputs)
    except KeyError as error:
        raise ValueError(f"it lacks {error}") from error
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def read(store: Store, digest: TreeDigest) -> Record:
    """The record that an artifact holds; raises ``ValueError`` if this program cannot read it."""
    try:
        return decode((store.path(digest) / FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{FILE}: {error.strerror}") from error


def _in_order(graph: DerivationGraph) -> DerivationGraph:
    ordered: dict[DerivationId, None] = {}
    for start in graph.derivations:
        pending = [start]
        while pending:
            each = pending[-1]
            if each in ordered:
                pending.pop()
                continue
            missing = [needed for needed in graph.derivations[each].dependencies() if needed not in ordered]
            if missing:
                pending.extend(missing)
            else:
                ordered[each] = None
                pending.pop()
    return DerivationGraph({each: graph.derivations[each] for each in ordered}, graph.targets)


def keep(store: Store, record: Record, system: str, arch: str, target: str = "") -> TreeDigest:
    """Put the record into the store and let a root point to it: the system's, or that of ``target``.

    Targets that were built alone before are kept by the system's record from then on, if they are in it.
    """
    references = {digest for outputs in record.outputs.values() for digest in outputs.values()}
    with store.writer(f"{system}-{arch}-record") as writer:
        writer.file(FILE, encode(record).encode())
        artifact = writer.commit(references=sorted(references))
    store.set_root(root_name(system, arch, target), artifact.digest)
    if not target:
        before = {root_name(system, arch, each) for each in record.graph.targets.by_name()}
        for name in before.intersection(store.roots()):
            store.remove_root(name)
    return artifact.digest


def last(store: Store, system: str, arch: str, targets: Sequence[str] = ()) -> Record | None:
    """The record of the last build that succeeded: of the system, or of the one target named if built alone since.

    Raises ``ValueError`` if this program cannot read it.
    """
    roots = store.roots()
    names = [root_name(system, arch, target) for target in targets] if len(targets) == 1 else []
    name = next((name for name in (*names, root_name(system, arch)) if name in roots), None)
    if name is None or not store.has(roots[name]):
        return None
    try:
        return read(store, roots[name])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
