"""Takes an edit of the files into a remembered evaluation, and remembers the result."""

from __future__ import annotations

import contextlib
import marshal
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nexis_eval.config.cache import EvaluationCache, Recalled, Request, row_of
from nexis_eval.evaluation.record import decode, encode, graph_of
from nexis_eval.evaluation.result import Evaluation, Summary
from nexis_eval.evaluation.state import State, kept_texts
from nexis_eval.evaluation.update import update
from nexis_eval.lock.model import lock_file
from nexis_eval.places import RULES

_PACKAGE = Path(__file__).resolve().parents[1]
_PROGRAM = (f"{_PACKAGE}/", f"{_PACKAGE.with_name('nexis_store')}/", f"{RULES}/")
"""What is below these is of the program."""


def evaluate_changed(
    request: Request, cache: EvaluationCache, known: Recalled, changed: Sequence[str]
) -> Evaluation | None:
    """Evaluate what an edit of the files ``changed`` can have changed; ``None`` if that is not known to be enough."""
    if any(file.startswith(_PROGRAM) for file in changed):
        # What another program remembered may even have another form.
        return None
    encoded, graph, remembered, written = (known.part(number) for number in range(len(known.parts)))
    if encoded is None or graph is None or remembered is None or written is None:
        return None
    head = Summary.decode(encoded, with_targets=False)
    nodes, rules = decode(graph)
    before, texts = State.decode(remembered), marshal.loads(written)
    # Each is as large as what was read from it.
    del encoded, graph, remembered, written
    lock = lock_file(Path(os.path.abspath(request.file)))  # noqa: PTH100 - no links
    began = time.time_ns()
    again = {file: row_of(file, began) for file in changed}
    try:
        text = lock.read_text(encoding="utf-8") if lock.exists() else ""
    except (OSError, UnicodeDecodeError):
        return None
    by_name = {rule.name: rule for rule in rules.values()}
    made = update(before, changed, request.profiles, str(lock), text, by_name, nodes, texts)
    if made is None:
        return None
    # A file whose text is not remembered has a secret, which is no package's: whether it has one was not edited.
    secret = before.files.keys() - texts.keys()
    del nodes, texts
    rules = {**rules, **made.rules}
    state = made.state.encode()
    gone = before.locals.keys() - made.state.locals.keys()
    rows = [again.get(row[0], row) for row in known.rows if row[0] not in gone]
    rows += [row_of(file, began) for file in made.state.locals.keys() - {row[0] for row in rows}]
    summary = replace(head, targets=made.targets)
    with contextlib.suppress(OSError):
        cache.put_rows(
            request,
            began,
            known.listings,
            rows,
            summary.encode(),
            encode(made.nodes, rules),
            state,
            marshal.dumps(kept_texts(made.texts, secret)),
        )
    return Evaluation(summary, lambda: graph_of(request, made.nodes, rules, made.targets, state))
