"""The table of all errors: what ``explain-error``, the documentation and SARIF reports read.

An error is declared once, as a class with a ``code``, an ``exit_code`` and a docstring that explains it to a person.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass

import nexis_eval
import nexis_store
from nexis_store.errors import NexisError

EXIT_CODES = {
    1: "a build failed",
    2: "the configuration or the command line is wrong",
    3: "something could not be fetched",
    4: "the store cannot do what was asked",
    5: "the sandbox is not available, or forbade something",
    70: "a bug in the program",
    130: "interrupted",
}


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One documented error."""

    code: str
    exit_code: int
    title: str
    """The first sentence."""
    explanation: str
    """All of it; paragraphs are separated by empty lines."""


def _classes(root: type[NexisError]) -> Iterator[type[NexisError]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


def _import_all() -> None:
    for package in (nexis_store, nexis_eval):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def entry(error: type[NexisError]) -> ErrorEntry:
    """What is documented about an error."""
    explanation = inspect.cleandoc(error.__doc__ or "")
    title = " ".join(explanation.split("\n\n", 1)[0].split())
    return ErrorEntry(error.code, error.exit_code, title, explanation)


def table() -> dict[str, ErrorEntry]:
    """Every error that a user can meet, by code. Imports every module of the program to know them all."""
    _import_all()
    found: dict[str, ErrorEntry] = {}
    for error in _classes(NexisError):
        # What they all are is never met itself.
        if "code" in vars(error) and error is not NexisError:
            found.setdefault(error.code, entry(error))
    return dict(sorted(found.items()))


def shared_codes() -> dict[str, list[str]]:
    """Codes that more than one class declares, with the names of the classes: must be empty."""
    _import_all()
    owners: dict[str, list[str]] = {}
    for error in _classes(NexisError):
        if "code" in vars(error):
            names = owners.setdefault(error.code, [])
            if error.__qualname__ not in names:
                names.append(error.__qualname__)
    return {code: names for code, names in owners.items() if len(names) > 1}


def markdown() -> str:
    """``docs/errors.md``."""
    lines = [
        "# Errors",
        "",
        "Made from the program by `nexis-eval explain-error --markdown`; a test compares the two.",
        "",
        "Every error has a code that does not change. `nexis-eval explain-error CODE` prints what stands here.",
        "",
        "| exit code | meaning |",
        "|---|---|",
        *(f"| {number} | {meaning} |" for number, meaning in EXIT_CODES.items()),
        "",
    ]
    for each in table().values():
        lines += [f"## {each.code}", "", each.explanation.replace("``", "`"), "", f"Exit code {each.exit_code}.", ""]
    return "\n".join(lines)
