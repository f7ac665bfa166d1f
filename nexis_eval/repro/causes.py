"""From evidence to a verdict: which cause is believed in. Pure.

Two witnesses are heard: what the differing bytes look like (``evidence``), and which variation makes them differ
(``vary``). The second is stronger where it speaks, but it names a trigger: an unsorted set shows up when random numbers
vary, and the cause to cure is still the order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from nexis_eval.repro.findings import Cause, Evidence, Strength, Verdict, View

TRIGGERS: dict[str, Cause] = {
    "time": Cause.TIMESTAMP,
    "timezone": Cause.TIMESTAMP,
    "hostname": Cause.IDENTITY,
    "user": Cause.IDENTITY,
    "home": Cause.PATH,
    "path": Cause.PATH,
    "umask": Cause.PERMISSIONS,
    "locale": Cause.LOCALE,
    "cpus": Cause.CPU,
    "order": Cause.ORDER,
    "kernel": Cause.KERNEL,
    "filesystem": Cause.FILESYSTEM,
    "environment": Cause.ENVIRONMENT,
    "aslr": Cause.ADDRESS,
    "memory": Cause.UNINITIALISED,
    "random": Cause.RANDOMNESS,
    "engine": Cause.ENVIRONMENT,
}
"""What each variation brings out, unless the differing bytes say it more precisely."""

REFINEMENTS: dict[str, frozenset[Cause]] = {
    "time": frozenset((Cause.TIMESTAMP, Cause.RANDOMNESS)),
    "random": frozenset((Cause.RANDOMNESS, Cause.ORDER, Cause.PATH)),
    "aslr": frozenset((Cause.ADDRESS, Cause.UNINITIALISED, Cause.ORDER, Cause.RANDOMNESS)),
    "memory": frozenset((Cause.UNINITIALISED, Cause.ORDER)),
    "user": frozenset((Cause.IDENTITY, Cause.RANDOMNESS, Cause.PATH)),
    "filesystem": frozenset((Cause.FILESYSTEM, Cause.ORDER)),
    "kernel": frozenset((Cause.KERNEL,)),
    "environment": frozenset((Cause.ENVIRONMENT, Cause.PATH, Cause.UNINITIALISED, Cause.ORDER)),
    "home": frozenset((Cause.PATH, Cause.ENVIRONMENT)),
}
"""Causes that a variation can bring out besides its own; anything else is overruled by the trigger."""


STRIPPED = (
    "only the build id differs, which is a hash of what the linker wrote: what differed there was stripped since, "
    "most often a path in debugging information (with `options.strip = false` it is there to be compared)"
)
"""Told where a program is the same but for its build id, instead of the two build ids."""


def judge(evidence: Iterable[Evidence], culprits: Sequence[str] | None = None) -> Verdict:
    """Weigh ``evidence``; ``culprits`` are the variations that a bisection found to make the difference."""
    found = list(evidence)
    ranking = _ranking(found)
    content = ranking[0] if ranking else Cause.UNKNOWN
    cause = _with_trigger(ranking, culprits) if culprits else content
    reasons = [each.why for each in sorted(found, key=lambda each: -each.strength) if each.cause is cause]
    if culprits is not None:
        reasons.insert(0, _trigger_reason(culprits))
    elif not reasons:
        reasons = [each.why for each in found if each.strength is not Strength.FOLLOWS][:1]
    if cause is Cause.UNKNOWN and found and all("build id" in each.why for each in found):
        reasons = [*(each for each in reasons if "build id" not in each), STRIPPED]
    return Verdict(cause, tuple(dict.fromkeys(reasons))[:4], None if culprits is None else tuple(culprits))


def judge_view(view: View | None) -> tuple[Verdict, ...]:
    """The verdict on an opened file, and a second one if some of it differs for a reason that is not known."""
    found = tuple(view.all_evidence()) if view is not None else ()
    first = judge(found)
    unexplained = [each.why for each in found if each.cause is Cause.UNKNOWN and each.strength is Strength.HINT]
    if first.cause is Cause.UNKNOWN or not unexplained:
        return (first,)
    return (first, Verdict(Cause.UNKNOWN, tuple(dict.fromkeys(unexplained))))


PRIORITY = ("memory", "time", "random", "order")
"""Where several variations make a path differ, the first of these says most about the reason."""


def judge_all(reasons: Sequence[tuple[tuple[str, ...], Sequence[Evidence]]]) -> tuple[Verdict, ...]:
    """The verdicts on one path that differs under several sets of variations, one a cause, the most telling first.

    What comes out in another order whatever is varied (a hash table keyed by addresses, say) has one cause, the order.
    """
    verdicts = [judge(evidence, culprits) for culprits, evidence in reasons]
    reordered = [any(each.cause is Cause.ORDER for each in evidence) for _, evidence in reasons]
    if len(verdicts) > 1 and all(reordered):
        verdicts = [replace(each, cause=Cause.ORDER) for each in verdicts]

    def rank(verdict: Verdict) -> int:
        first = verdict.culprits[0] if verdict.culprits else ""
        return PRIORITY.index(first) if first in PRIORITY else len(PRIORITY)

    merged: dict[Cause, Verdict] = {}
    for verdict in sorted(verdicts, key=rank):
        known = merged.setdefault(verdict.cause, verdict)
        if known is not verdict:
            culprits = tuple(dict.fromkeys((*(known.culprits or ()), *(verdict.culprits or ()))))
            merged[verdict.cause] = replace(known, why=(*known.why, *verdict.why), culprits=culprits)
    return tuple(merged.values())


def _trigger_reason(culprits: Sequence[str]) -> str:
    if not culprits:
        return (
            "the outputs differ with every variation switched off: chance, a race, or something no variation controls"
        )
    listed = " and ".join(culprits)
    return f"the outputs are equal without the variation of {listed} and differ with it"


def _ranking(found: Iterable[Evidence]) -> list[Cause]:
    weights: dict[Cause, list[int]] = defaultdict(list)
    for each in found:
        if each.cause is not Cause.UNKNOWN and each.strength is not Strength.FOLLOWS:
            weights[each.cause].append(int(each.strength))
    return sorted(weights, key=lambda cause: (-max(weights[cause]), -sum(weights[cause]), cause))


def _with_trigger(ranking: list[Cause], culprits: Sequence[str]) -> Cause:
    first = culprits[0]
    own = TRIGGERS[first]
    allowed = REFINEMENTS.get(first, frozenset((own,)))
    for cause in ranking:
        if cause is own or cause in allowed:
            return cause
    if first == "time" and Cause.TIMESTAMP not in ranking and not ranking:
        # A number that follows the clock without showing it: a generator seeded with the time.
        return Cause.RANDOMNESS
    return own
