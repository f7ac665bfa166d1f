"""Compares a record with a binary cache: what did its publisher get from the very same build keys?

The record's graph is walked in build order, each key made from what the *cache* got for the inputs. So a step that
merely follows from one that differs is found as well, under the key that it had over there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nexis_eval.graph.closures import Closures, Outputs
from nexis_eval.graph.derivation import Choice, Derivation, Script
from nexis_eval.repro.cache import Cache
from nexis_eval.repro.compare import Tree
from nexis_eval.repro.diff import Side, diff_records
from nexis_eval.repro.record import BuildRecord, Step
from nexis_eval.repro.report import Report, Status, Subject
from nexis_eval.schedule.plan import resolve_inputs
from nexis_store.digest import DerivationId, TreeDigest


@dataclass(frozen=True, slots=True)
class _Found:
    steps: Mapping[DerivationId, Step]
    missing: tuple[DerivationId, ...]
    """The scripts whose keys the cache does not know."""


def challenge(mine: Side, cache: Cache, *, everything: bool = False) -> Report:
    """Compare; steps that the cache has not built are told as not comparable."""
    record = mine.record
    found = _look_up(record, cache)

    def tree(digest: TreeDigest) -> Tree | None:
        manifest = cache.manifest(digest)
        return None if manifest is None else Tree(manifest, fetch=cache.file)

    steps = {each: step for each, step in record.steps.items() if each in found.steps}
    before = replace(mine, record=replace(record, steps=steps))
    after = Side(cache.name, replace(record, steps=found.steps, manifests={}), tree)
    report = diff_records(before, after, everything=everything)
    derivations = record.graph.derivations
    absent = tuple(
        Subject(derivations[each].label, derivations[each].platform, Status.FAILED, notes=("not built by the cache",))
        for each in found.missing
    )
    return replace(report, title="A build and a binary cache compared", subjects=(*report.subjects, *absent))


def _look_up(record: BuildRecord, cache: Cache) -> _Found:
    derivations = record.graph.derivations
    outputs: dict[DerivationId, Outputs] = {}
    closures = Closures(derivations, outputs)
    steps: dict[DerivationId, Step] = {}
    missing: list[DerivationId] = []
    for each, derivation in derivations.items():
        mine = record.steps.get(each)
        if isinstance(derivation.builder, Choice):
            taken = next((item for item in derivation.inputs if item.derivation in outputs), None)
            if taken is not None:
                outputs[each] = outputs[taken.derivation]
            continue
        if mine is None:
            continue
        try:
            step = _step(derivation, mine, closures, cache)
        except KeyError:
            # Something that it needs is not there, so its key over there is not known.
            step = None
        if step is not None:
            steps[each] = step
            outputs[each] = step.outputs
        elif isinstance(derivation.builder, Script):
            missing.append(each)
    return _Found(steps, tuple(missing))


def _step(derivation: Derivation, mine: Step, closures: Closures, cache: Cache) -> Step | None:
    key = resolve_inputs(derivation, closures)
    if key == mine.key and not isinstance(derivation.builder, Script):
        # Verified by hash, or a function of the engine: asking for each of them would be hundreds of requests.
        return mine
    found = cache.outputs(key)
    return None if found is None else Step(key, found)
