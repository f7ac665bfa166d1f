"""The result of a check or of a diff, as one value that every output format renders. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nexis_eval.repro.findings import Cause, Difference

EXIT_SAME, EXIT_DIFFERS, EXIT_INCOMPARABLE = 0, 1, 2


class Status(StrEnum):
    """How one subject compares."""

    SAME = "same"
    DIFFERS = "differs"
    """It differs by itself: here is the cause."""
    FOLLOWS = "follows"
    """It differs because an input does."""
    FAILED = "failed"
    """It could not be compared: a build failed, or one side is missing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One derivation, file or directory that was compared."""

    name: str
    platform: str = ""
    status: Status = Status.SAME
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    """What else is to be said: the recipe's changes, why it could not be compared, what it follows from."""
    before: str = ""
    after: str = ""
    rounds: int = 0
    duration_ns: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """A whole comparison. ``subjects`` are in build order, so that the first that differs is where to look."""

    title: str
    before: str
    after: str
    subjects: tuple[Subject, ...]
    facts: tuple[tuple[str, str], ...] = ()
    """Name and value of what a reader should know: the system, the architecture, what was varied."""

    @property
    def exit_code(self) -> int:
        """0 everything is the same, 1 something differs, 2 something could not be compared."""
        found = {subject.status for subject in self.subjects}
        if Status.DIFFERS in found or Status.FOLLOWS in found:
            return EXIT_DIFFERS
        return EXIT_INCOMPARABLE if Status.FAILED in found or not self.subjects else EXIT_SAME

    def count(self, *statuses: Status) -> int:
        """How many subjects have one of ``statuses``."""
        return sum(1 for subject in self.subjects if subject.status in statuses)

    def causes(self) -> list[tuple[Cause, int]]:
        """The causes of all differences with their numbers, most frequent first."""
        found = Counter(
            each.verdict.cause for subject in self.subjects for each in subject.differences if each.verdict is not None
        )
        return found.most_common()

    def headline(self) -> str:
        """The result in one sentence."""
        total = len(self.subjects)
        if not total:
            return "nothing was compared"
        differing, failed = self.count(Status.DIFFERS, Status.FOLLOWS), self.count(Status.FAILED)
        if not differing and not failed:
            return f"all {total} the same" if total > 1 else "the same"
        if total == 1:
            return "it differs" if differing else "it could not be compared"
        words = []
        if differing:
            follows = self.count(Status.FOLLOWS)
            words.append(
                f"{differing} of {total} differ" + (f", {follows} of them only as a consequence" if follows else "")
            )
        if failed:
            words.append(f"{failed} could not be compared")
        return "; ".join(words)


def merge_differences(rounds: Sequence[Sequence[Difference]]) -> tuple[Difference, ...]:
    """The differences of several rounds, each path and change once: the first finding stands."""
    merged: dict[tuple[str, str], Difference] = {}
    for differences in rounds:
        for each in differences:
            merged.setdefault((each.path, each.change), each)
    return tuple(merged[key] for key in sorted(merged))
