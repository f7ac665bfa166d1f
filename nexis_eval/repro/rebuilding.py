"""Builds what a record describes, from the record and the sources alone, and compares what comes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nexis_eval import events
from nexis_eval.engine import open_engine
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Local
from nexis_eval.graph.target import parse_target
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options
from nexis_eval.repro.record import BuildRecord, RecordError, Step
from nexis_eval.repro.recording import steps_of
from nexis_eval.repro.report import Status, Subject
from nexis_eval.schedule.plan import make_plan
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.hashing import tree_of_path
from nexis_store.store import Store
from nexis_store.tree import Manifest

Emit = Callable[[events.Event], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The second build as a record, and what could not be built."""

    record: BuildRecord
    failures: tuple[Subject, ...]


@dataclass
class _Failures:
    emit: Emit
    subjects: list[Subject] = field(default_factory=list)

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.StepFailed):
            notes = (event.message, *event.log_tail)
            self.subjects.append(Subject(event.label, "", Status.FAILED, notes=notes))
        self.emit(event)


def with_embedded_files(record: BuildRecord, directory: Path) -> DerivationGraph:
    """Write the user's files that the record holds below ``directory``; returns the graph that takes them from there.

    Raises ``RecordError`` naming every file that is neither in the record nor in its old place.
    """
    derivations = {}
    missing = []
    for each, derivation in record.graph.derivations.items():
        builder = derivation.builder
        if isinstance(builder, Local) and each in record.steps:
            path = Path(builder.path)
            if builder.tree in record.locals:
                path = _restore(builder.tree, record.locals[builder.tree], path.name, directory)
            elif not path.exists() or tree_of_path(path).digest != builder.tree:
                missing.append(f"{derivation.label} ({builder.path}, tree {builder.tree})")
            # The path is no part of any identity, so the id stays what it was.
            derivation = replace(derivation, builder=replace(builder, path=str(path)))
        derivations[each] = derivation
    if missing:
        raise RecordError(
            f"the record does not hold these local files, and they are not here: {'; '.join(missing)}",
            hint="put them in their place, or record with smaller files",
        )
    return DerivationGraph(derivations, record.graph.targets)


def _restore(digest: TreeDigest, files: Mapping[str, bytes], name: str, directory: Path) -> Path:
    manifest = Manifest.decode(files[""], digest)
    top = directory / str(digest)
    single = [entry.path for entry in manifest.entries()] == [name]
    place = top if single else top / name
    place.mkdir(parents=True)
    for entry in manifest.entries():
        path = place / entry.path
        if entry.kind == "d":
            path.mkdir()
        elif entry.kind == "l":
            path.symlink_to(entry.target or "")
        else:
            path.write_bytes(files[entry.path])
            path.chmod(0o755 if entry.executable else 0o644)
    return place / name if single else place


async def rebuild(
    record: BuildRecord,
    directory: Path,
    store: Store,
    mirrors: Mirrors,
    jobs: int,
    emit: Emit,
) -> Rebuilt:
    """Realise the recorded targets in ``store`` (an empty one proves most); ``directory`` is for embedded files."""
    graph = with_embedded_files(record, directory)
    unknown = [name for name in record.roots if graph.targets.named(name) is None]
    if unknown:
        raise RecordError(f"the record does not hold its own targets: {', '.join(unknown)}", hint="record again")
    roots = [graph.targets[parse_target(name)] for name in record.roots]
    failures = _Failures(emit)
    plan = make_plan(graph, roots, store.realised, store.realisation)
    if plan.pending:
        options = Options(jobs=jobs, keep_going=True)
        async with open_engine(store, mirrors, options, failures) as engine:
            await engine.realise(graph, roots, plan)
    outputs = {}
    for each in graph.derivations:
        known = store.realised(each)
        if known is not None:
            outputs[each] = known.outputs
    steps: dict[DerivationId, Step] = steps_of(graph.derivations, outputs)
    again = replace(
        record, graph=graph, steps=steps, manifests={}, locals={}, environment={"processors": _processors()}
    )
    return Rebuilt(again, tuple(failures.subjects))


def _processors() -> str:
    return str(len(os.sched_getaffinity(0)))
