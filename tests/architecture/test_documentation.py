"""What a reader finds in the documentation is there: pages, headings, files, commands and their options."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest

from nexis_eval.cli.main import PROGRAM as EVAL
from nexis_store.cli.main import PROGRAM as STORE

TOP = Path(__file__).resolve().parents[2]
PAGES = {
    name: TOP / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=TOP, capture_output=True, text=True, check=True,
    ).stdout.split()
    if (TOP / name).exists()
}  # fmt: skip
PROGRAMS = {EVAL.name: EVAL, STORE.name: STORE}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:docs|tests|nexis_eval|nexis_store|rules|examples|tools|bench|buildroot|\.ci)/[\w./-]*)`")
_TEST = re.compile(r"`(test_\w+\.py)`")
_CODE = re.compile(r"```.*?```", re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _links(page: Path) -> set[tuple[Path, str]]:
    found = set()
    for target in _LINK.findall(_CODE.sub("", page.read_text())):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            found.add(((page.parent / path).resolve() if path else page, anchor))
    return found


@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    for target, anchor in _links(page):
        assert target.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in map(_anchor, re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE))
    assert [path for path in _PATH.findall(text) if not (TOP / path).exists()] == []
    assert [name for name in _TEST.findall(text) if not any((TOP / "tests").rglob(name))] == []


def test_every_page_can_be_reached_from_the_first_one() -> None:
    reached: set[Path] = set()
    waiting = [TOP / "README.md"]
    while waiting:
        page = waiting.pop()
        page = page / "README.md" if page.is_dir() else page
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            waiting += [target for target, _ in _links(page)]
    assert {name for name, page in PAGES.items() if page not in reached and not name.startswith("tests/")} == set()


def test_the_map_is_the_tree() -> None:
    """Each part of the code, and each directory beside it, stands in the map, and nothing else does."""
    section = (TOP / "README.md").read_text().partition("| where | what |")[2].partition("\n\n")[0]
    named = set()
    for row in section.splitlines():
        spans = _SPAN.findall(row.split("|")[1]) if row.startswith(("| `", "| [`")) else []
        inside = "nexis_eval/" if row.startswith("| `nexis_eval/") else ""
        named |= {inside + each.removeprefix(inside) for each in spans}
    tracked = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=True).stdout.split()
    there = {f"{name.split('/')[0]}/" for name in tracked if "/" in name} - {"nexis_eval/", "docs/", ".ci/"}
    for name in tracked:
        if name.startswith("nexis_eval/") and not name.endswith("__init__.py"):
            rest = name.split("/")[1:]
            there.add(f"nexis_eval/{rest[0]}" + ("/" if len(rest) > 1 else ""))
    assert named == there


def test_the_map_of_the_store_is_its_modules() -> None:
    section = (TOP / "docs/store.md").read_text().partition("| module | for |")[2].partition("\n\n")[0]
    named = {each for row in section.splitlines() if row.startswith("| `") for each in _SPAN.findall(row.split("|")[1])}
    store = TOP / "nexis_store"
    assert named == {path.stem for path in store.glob("*.py")} - {"__init__"} | {"metadata/"}


@cache
def _options(program: str, command: str) -> set[str] | None:
    """The options of a command, or ``None`` if there is no such command (the words may be arguments)."""
    words = command.split()
    known = PROGRAMS[program]
    if words[0] not in known.commands:
        return None
    name = words[0].replace("-", "_") + ("_" if words[0] == "import" else "")
    module = importlib.import_module(f"{known.package}.{name}")
    if hasattr(module, "COMMANDS"):
        if len(words) < 2 or words[1] not in module.COMMANDS:
            return {"--help"}
        module = importlib.import_module(f"{known.package}.{name}_{words[1]}")
    parser = argparse.ArgumentParser()
    known.common(parser)
    module.add_arguments(parser)
    return {option for action in parser._actions for option in action.option_strings}


def _shown(text: str) -> list[tuple[str, list[str]]]:
    """Each command of ours that a page shows: program and words."""
    found = []
    code = [line for block in _CODE.findall(text) for line in block.splitlines()]
    rest = _CODE.sub("", text)
    code += [line for line in rest.splitlines() if line.startswith("    ")]
    code += [span.replace("\n", " ") for span in _SPAN.findall(rest)]
    for line in code:
        for part in re.split(r" # | \| |&&|;| >", line.strip().removeprefix("$ ")):
            match = re.match(r"(?:\S+=\S+ )*(nexis-eval|nexis-store) (\S.*)", part.strip())
            if match:
                try:
                    words = shlex.split(match[2])
                except ValueError:
                    words = match[2].split()
                found.append((match[1], words))
    return found


@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_commands_that_are_shown_exist_and_have_these_options(page: Path) -> None:
    for program, words in _shown(page.read_text()):
        if not re.fullmatch(r"[a-z-]+", words[0]):
            continue
        options = _options(program, " ".join(words[:2]))
        assert options is not None, f"{program} {' '.join(words)}: no such command"
        for word in words:
            # A synopsis has brackets, and an alternative behind a bar.
            for option in re.findall(r"(?:^|[\[|])(--?[a-z][a-z-]*)", word):
                assert option in options, f"{program} {' '.join(words)}: there is no {option}"


def test_the_page_on_extending_names_what_is_extended() -> None:
    """Each class and table that the page tells to write or to add a row to is in a file that the same section names."""
    text = (TOP / "docs/extending.md").read_text()
    for heading, names in {
        "A builder kind": ("Builder", "KINDS", "PERFORMERS", "Performance", "Stored"),
        "An executor": ("Executor", "Action", "Result", "open_engine"),
        "A substituter": ("TreeSource", "Sources", "open_engine"),
    }.items():
        section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        files = [TOP / path for path in _PATH.findall(section) if path.endswith(".py")]
        assert files, heading
        code = "\n".join(file.read_text() for file in files)
        for name in names:
            assert f"`{name}`" in section, (heading, name)
            assert re.search(rf"^(?:class |async def |def )?{name}\b", code, re.MULTILINE), (heading, name)
