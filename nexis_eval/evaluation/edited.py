"""Takes an edit of the files into a remembered evaluation, and remembers the result."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

from nexis_eval.config.cache import EvaluationCache, Recalled, Request, program_files, row_of
from nexis_eval.evaluation.record import Places, decode, encode
from nexis_eval.evaluation.result import Evaluation, decode_summary, encode_summary
from nexis_eval.graph import packed_graph
from nexis_eval.incremental import State, update
from nexis_eval.lock.model import load_lock
from nexis_eval.places import RULES
from nexis_eval.rules import Renderer


def evaluate_changed(
    request: Request, cache: EvaluationCache, known: Recalled, changed: Sequence[str]
) -> Evaluation | None:
    """Evaluate what an edit of the files ``changed`` can have changed; ``None`` if that is not known to be enough."""
    program = {*map(os.fspath, program_files())}
    if any(file in program or file.startswith(f"{RULES}/") for file in changed):
        # What another program remembered may even have another form.
        return None
    summary, graph, state = (known.part(number) for number in range(len(known.parts)))
    if summary is None or graph is None or state is None:
        return None
    arch, system, mirrors, targets = decode_summary(summary)
    nodes, paths, rules = decode(graph)
    numbers = [nodes.index[each] for each in targets.values()]
    now = time.time_ns()
    again = {file: row_of(file, now) for file in changed}
    made = update(
        State.decode(state),
        changed,
        request.profiles,
        load_lock(request.file.with_name("nexis.lock")),
        {rule.name: rule for rule in rules.values()},
        nodes,
        targets,
        paths,
    )
    if made is None:
        return None
    rules = {**rules, **made.rules}
    targets = {name: made.nodes.ids[number] for name, number in zip(targets, numbers, strict=True)}
    rows = [again.get(row[0], row) for row in known.rows]
    rows += [row_of(file, now) for file in {*map(os.fspath, made.files)} - {row[0] for row in rows}]
    with contextlib.suppress(OSError):
        encoded = encode_summary(arch, system, mirrors, targets)
        cache.put_rows(request, known.listings, rows, encoded, encode(made.nodes, paths, rules), state)
    place = Places(request).place
    return Evaluation(
        arch, system, mirrors, targets, lambda: packed_graph(made.nodes, targets, paths, Renderer(rules), place)
    )
