"""The sources of a system: which there are, keeping them for when there is no network, taking them out of a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from nexis_eval.fetch.hashes import new_hasher
from nexis_eval.graph.builders import BUILDERS
from nexis_eval.graph.closures import Closures
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation, Fetch
from nexis_eval.graph.encoding import derivation_id
from nexis_eval.lock.fits import platform_in
from nexis_eval.lock.model import LockedSource
from nexis_eval.packages.pins import fetch_of
from nexis_eval.platforms import DEFAULT_BUILD_ARCH
from nexis_eval.schedule.plan import resolve_inputs
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.store import Artifact, Store

CHUNK_BYTES = 1 << 20
LISTING = "sources.txt"


def sources_of(graph: DerivationGraph, roots: Iterable[DerivationId]) -> list[DerivationId]:
    """Everything that has to be fetched to build ``roots`` from nothing, alternatives included."""
    return [each for each in graph.in_order(roots) if BUILDERS[graph.head(each).kind].fetches]


def root_name(system: str, arch: str) -> str:
    """The GC root under which the sources of a system are kept."""
    return f"sources/{system}-{arch}"


def present(store: Store, sources: Iterable[DerivationId]) -> dict[DerivationId, TreeDigest]:
    """Those of ``sources`` that the store has."""
    found = {}
    for each in sources:
        known = store.realised(each)
        if known is not None:
            found[each] = known.outputs["out"]
    return found


def keep(store: Store, graph: DerivationGraph, found: Mapping[DerivationId, TreeDigest], name: str) -> TreeDigest:
    """Keep ``found`` from garbage collection under the root ``name``: an artifact that lists and references them."""
    lines = sorted(f"{digest} {graph.head(each).label}\n" for each, digest in found.items())
    with store.writer("sources") as writer:
        writer.file(LISTING, "".join(lines).encode())
        artifact = writer.commit(references=sorted(set(found.values())))
    store.set_root(name, artifact.digest)
    return artifact.digest


def _digest_of(path: Path, algorithm: str) -> str:
    hasher = new_hasher(algorithm)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def _matching(
    store: Store, artifacts: Sequence[Artifact], algorithms: Iterable[str]
) -> dict[tuple[str, str, str], TreeDigest]:
    """(algorithm, digest, file name) → artifact, for artifacts that hold one file. The bundle's word is not taken."""
    found = {}
    for artifact in artifacts:
        entries = list(store.manifest(artifact.digest).entries())
        if len(entries) == 1 and entries[0].kind == "f":
            path = store.path(artifact.digest) / entries[0].path
            for algorithm in algorithms:
                found[algorithm, _digest_of(path, algorithm), entries[0].path] = artifact.digest
    return found


def take(
    store: Store,
    graph: DerivationGraph,
    sources: Iterable[DerivationId],
    artifacts: Sequence[Artifact],
    *,
    origin: str,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Record those of ``sources`` that ``artifacts`` hold, each verified by its own hash; returns how many."""
    wanted = {each: graph.derivations[each] for each in sources}
    algorithms = {item.builder.algorithm for item in wanted.values() if isinstance(item.builder, Fetch)}
    files = _matching(store, artifacts, sorted(algorithms))
    trees = {artifact.digest for artifact in artifacts}
    taken = 0
    for each, derivation in wanted.items():
        builder = derivation.builder
        digest: TreeDigest | None = None
        if isinstance(builder, Fetch):
            digest = files.get((builder.algorithm, builder.hash, builder.filename))
        else:
            digest = builder.declared_tree() if builder.declared_tree() in trees else None
        if digest is None:
            continue
        store.record(
            Realisation(
                key=resolve_inputs(derivation, Closures({}, {})),
                derivation=each,
                name=derivation.label,
                outputs={"out": digest},
                origin="fetched",
                note=f"from {origin}",
                started_ns=time.time_ns(),
                extra={"platform": derivation.platform},
            )
        )
        tell(derivation.label)
        taken += 1
    return taken


def keep_locked(store: Store, source: LockedSource, download: Path) -> TreeDigest:
    """Move what was downloaded to pin ``source`` into ``store``, where building finds it; returns its artifact."""
    fetch = fetch_of(source)
    name = f"{source.package}-{source.field}"
    platform = (platform_in(source.arch) if source.field == "prebuilt" else "") or DEFAULT_BUILD_ARCH
    tree = download
    if isinstance(fetch, Fetch):
        tree = download.with_name(f"{download.name}.kept")
        tree.mkdir()
        download.rename(tree / fetch.filename)
    digest = store.add_directory(tree, name, normalise=False, move=True).digest
    derivation = Derivation(name, fetch, platform, version=source.version)
    store.record(
        Realisation(
            key=resolve_inputs(derivation, Closures({}, {})),
            derivation=derivation_id(derivation),
            name=derivation.label,
            outputs={"out": digest},
            origin="fetched",
            note="when it was pinned",
            started_ns=time.time_ns(),
            extra={"platform": platform},
        )
    )
    return digest
