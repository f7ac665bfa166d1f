"""From a request to its evaluation: recalled if nothing changed, else what an edit changed, else all of it.

Recalling is what most commands do, so that is all that is imported for it.
"""

from __future__ import annotations

from nexis_eval.collecting import without_collecting
from nexis_eval.config.cache import EvaluationCache, Request
from nexis_eval.evaluation.result import SUMMARY, Evaluation, Summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.evaluation.result import Pin
    from nexis_eval.graph.dag import DerivationGraph


def evaluate(request: Request, cache: EvaluationCache, pin: Pin | None) -> Evaluation:
    """The evaluation of a configuration; raises ``NexisError`` for all that can be wrong with it.

    What is recalled is exactly what would be evaluated: the record holds the content of every file that was read, and
    the program itself (``nexis_eval.config.cache``). After an edit, only what it can have changed is evaluated.
    Without ``pin``, something that the lock lacks is an error.
    """
    known = cache.find(request)
    changed: list[str] | None = None
    if known is not None and known.same_listings():
        changed = known.changed()
        encoded = None if changed else known.part(SUMMARY)
        if encoded is not None:
            recalled = known
            summary = Summary.decode(encoded)

            def late_graph() -> DerivationGraph:
                from nexis_eval.evaluation.record import recalled_graph

                return recalled_graph(request, recalled, summary.targets) or evaluate_all(request, cache, pin).graph

            return Evaluation(summary, late_graph)
    if known is not None and changed:
        # Imported on use: recalling takes a third of the time that this takes to import.
        with without_collecting():
            from nexis_eval.evaluation.edited import evaluate_changed

            made = evaluate_changed(request, cache, known, changed)
        if made is not None:
            return made
    return evaluate_all(request, cache, pin)


def evaluate_all(request: Request, cache: EvaluationCache, pin: Pin | None) -> Evaluation:
    """Evaluate from the files alone."""
    with without_collecting():
        from nexis_eval.evaluation import whole

        return whole.evaluate_all(request, cache, pin)
