"""Which variation a bisection blames, on builds that are made up: what they depend on, and on which luck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from nexis_eval.execute.runner import RunResult
from nexis_eval.repro.check import CheckOptions, check
from nexis_eval.repro.compare import Tree
from nexis_eval.repro.rebuild import Built, Laboratory, Recipe
from nexis_eval.repro.report import Subject
from nexis_eval.repro.surroundings import Surroundings
from nexis_eval.repro.vary import Setup, Tools
from nexis_store.store import Store

Content = Callable[[Setup, int], str | None]
"""What a build makes of its conditions, and of how often it ran under just these before; ``None``: it fails."""


@dataclass
class MadeUp:
    """A laboratory without sandboxes."""

    trees: dict[str, Tree]
    content: Content
    tools: Tools = field(default_factory=lambda: Tools(shim=Path("/shim"), other_file_system=Path("/")))
    seen: list[frozenset[str]] = field(default_factory=list)

    async def build(self, recipe: Recipe, setup: Setup) -> Built:
        text = self.content(setup, self.seen.count(setup.varied))
        self.seen.append(setup.varied)
        if text is None:
            return Built({}, Surroundings(), RunResult(1, 0))
        return Built({"out": self.trees[text]}, Surroundings(), RunResult(0, 0))


@dataclass(frozen=True)
class Named:
    label: str = "made-up-1.0"


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tree]]:
    """What builds may come out as."""
    found = {}
    with Store.open(tmp_path_factory.mktemp("made") / "store") as store:
        for text in ("True", "False"):
            with store.writer("made-up") as writer:
                writer.file("made", text.encode())
                made = writer.commit()
            found[text] = Tree(store.manifest(made.digest), made.path)
        yield found


def blamed(trees: dict[str, Tree], content: Content) -> set[str] | None:
    """The culprits that a check names; ``None`` if it was not found out."""
    laboratory = cast(Laboratory, MadeUp(trees, content))
    subject: Subject = asyncio.run(check(laboratory, cast(Recipe, Named()), "x86_64", CheckOptions(bisect=True)))
    (difference,) = subject.differences
    verdicts = list(difference.verdicts())
    found = [verdict.culprits for verdict in verdicts if verdict.culprits is not None]
    return {each for culprits in found for each in culprits} if found else None


@pytest.mark.parametrize("culprit", ["umask", "order", "random"])
def test_what_makes_the_difference_is_blamed(trees: dict[str, Tree], culprit: str) -> None:
    assert blamed(trees, lambda setup, _: str(culprit in setup.varied)) == {culprit}


def test_two_that_are_needed_together_are_blamed_together(trees: dict[str, Tree]) -> None:
    assert blamed(trees, lambda setup, _: str({"umask", "home"} <= setup.varied)) == {"umask", "home"}


def test_who_was_there_by_chance_is_not_blamed(trees: dict[str, Tree]) -> None:
    """A race that pinned builds won each time, and the one build with another memory lost once."""
    alone = frozenset({"memory"})

    def content(setup: Setup, before: int) -> str:
        return str("memory" in setup.varied and not (setup.varied == alone and before))

    assert blamed(trees, content) == set()


def test_a_build_that_fails_the_second_time_acquits_nobody(trees: dict[str, Tree]) -> None:
    def content(setup: Setup, before: int) -> str | None:
        return None if setup.varied == {"umask"} and before else str("umask" in setup.varied)

    assert blamed(trees, content) == {"umask"}


@pytest.mark.parametrize("culprit", ["random", "aslr", "cpus"])
def test_what_works_in_some_builds_only_is_blamed_all_the_same(trees: dict[str, Tree], culprit: str) -> None:
    def content(setup: Setup, before: int) -> str:
        return str(culprit in setup.varied and not (setup.varied == {culprit} and before))

    assert blamed(trees, content) == {culprit}
