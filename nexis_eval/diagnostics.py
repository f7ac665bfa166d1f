"""Renders errors: for people (place, fact, source line with a caret, how the file came in, cure), and for programs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from nexis_eval.config.errors import ConfigError, ConfigErrors
from nexis_eval.config.origin import LatePlace
from nexis_eval.secrets import blotted
from nexis_store.errors import NexisError, Place
from nexis_store.names import printable

_RED, _BLUE, _GREEN, _BOLD, _PLAIN = "\x1b[31;1m", "\x1b[34m", "\x1b[32m", "\x1b[1m", "\x1b[0m"
_WIDTH = 140
"""Longer source lines are cut around the caret, in characters."""

_VALUE = re.compile(r"""\"[^"]*"|'[^']*'|\[+[^\[\]]+\]+|[^\s,\]}#=]+""")
_MOST = 100
"""More errors than these are only counted."""


def render(error: NexisError, *, colour: bool) -> str:
    """What to print for ``error``, without a line break at the end."""
    if isinstance(error, ConfigErrors):
        parts = [_one(each, colour) for each in error.errors[:_MOST]]
        if len(error.errors) > _MOST:
            parts.append(f"{len(error.errors)} errors, of which these are the first {_MOST}")
        elif len(parts) > 1:
            parts.append(f"{len(parts)} errors")
        return "\n\n".join(parts)
    return _one(error, colour)


def as_json(error: NexisError) -> dict[str, object]:
    """One error as plain data, for ``--format json``. Lines and columns count from 1, columns in characters."""
    config = error if isinstance(error, ConfigError) else None
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "place": _json_place(error.place, config.length if config else 0),
        "notes": [
            {"message": note.text, "place": _json_place(note.place, note.length)}
            for note in (config.notes if config else ())
        ],
        "included_from": [_json_place(place, 0) for place in _included_from(error)],
    }


def _included_from(error: NexisError) -> Sequence[Place]:
    """The include statements that led to the place of an error, innermost first."""
    if isinstance(error, ConfigError):
        return error.included_from
    return error.place.included_from if isinstance(error.place, LatePlace) else ()


def _json_place(place: Place | None, length: int) -> dict[str, object] | None:
    if place is None:
        return None
    return {"file": place.file, "line": place.line, "column": place.column, "length": length}


def as_sarif(errors: Sequence[NexisError], version: str) -> dict[str, object]:
    """A SARIF 2.1.0 log, as editors and code-scanning services read it.

    https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
    """
    rules = {error.code: type(error) for error in errors}
    codes = sorted(rules)
    results = []
    for error in errors:
        result: dict[str, object] = {
            "ruleId": error.code,
            "ruleIndex": codes.index(error.code),
            "level": "error",
            "message": {"text": f"{error.message}\nhint: {error.hint}" if error.hint else error.message},
        }
        config = error if isinstance(error, ConfigError) else None
        if error.place:
            result["locations"] = [_sarif_location(error.place, config.length if config else 0)]
        if config and config.notes:
            result["relatedLocations"] = [
                {**_sarif_location(note.place, note.length), "message": {"text": note.text}} for note in config.notes
            ]
        results.append(result)
    driver = {
        "name": "nexis-eval",
        "version": version,
        "rules": [
            {"id": code, "fullDescription": {"text": inspect.cleandoc(rules[code].__doc__ or "")}} for code in codes
        ],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        # Columns are counted in code points here as in the messages; the default of SARIF would be UTF-16 units.
        "runs": [{"columnKind": "unicodeCodePoints", "tool": {"driver": driver}, "results": results}],
    }


def _sarif_location(place: Place, length: int) -> dict[str, object]:
    physical: dict[str, object] = {"artifactLocation": {"uri": quote(place.file)}}
    if place.line:
        region = {"startLine": place.line, "startColumn": place.column}
        if length:
            region["endColumn"] = place.column + length
        physical["region"] = region
    return {"physicalLocation": physical}


def _paint(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{_PLAIN}" if colour else text


def _one(error: NexisError, colour: bool) -> str:
    place = f"{_paint(str(error.place), _BOLD, colour)}: " if error.place else ""
    lines = [f"{place}{_paint('error', _RED, colour)}: {printable(error.message)} [{error.code}]"]
    length = error.length if isinstance(error, ConfigError) else 0
    if error.place is not None:
        lines += excerpt(error.place, length, colour=colour)
    if isinstance(error, ConfigError):
        for note in error.notes:
            lines.append(
                f"{_paint(str(note.place), _BOLD, colour)}: {_paint('note', _BLUE, colour)}: {printable(note.text)}"
            )
            lines += excerpt(note.place, note.length, colour=colour)
    lines += [f"included from {place}" for place in _included_from(error)]
    if error.hint:
        lines.append(f"{_paint('hint', _GREEN, colour)}: {printable(error.hint)}")
    return "\n".join(lines)


def excerpt(place: Place, length: int, *, colour: bool) -> list[str]:
    """The line at ``place`` and one that underlines ``length`` characters; nothing if it cannot be read."""
    if not place.line:
        return []
    lines = _lines(place.file)
    if place.line > len(lines):
        return []
    line = blotted(lines[place.line - 1].rstrip("\r"))
    start = min(place.column - 1, len(line))
    length = max(1, min(length or _guess_length(line, start), len(line) - start))
    cut = max(0, start - _WIDTH // 2) if len(line) > _WIDTH else 0
    shown, start = line[cut : cut + _WIDTH], start - cut
    length = max(1, min(length, _WIDTH - start))
    if cut:
        shown = "…" + shown[1:]
    number = str(place.line)
    # Tabs are kept in the second line, so that the caret stands where the terminal puts the character.
    blank = "".join("\t" if character == "\t" else " " * _columns(character) for character in shown[:start])
    underline = "^" * max(1, sum(map(_columns, shown[start : start + length])))
    return [
        f"{_paint(f'  {number} |', _BLUE, colour)} {printable(shown)}".rstrip(),
        f"{_paint('  ' + ' ' * len(number) + ' |', _BLUE, colour)} {blank}{_paint(underline, _RED, colour)}",
    ]


def _guess_length(line: str, start: int) -> int:
    """How long the value at ``start`` is, for errors that know no more than where it starts."""
    match = _VALUE.match(line, start)
    return len(match[0]) if match else 1


@lru_cache(maxsize=4)
def _lines_of(path: str, _stamp: tuple[int, int]) -> list[str]:
    return Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").decode(errors="replace").split("\n")


def _lines(path: str) -> list[str]:
    """The lines of a file; many errors may be in one, so the last few files are kept."""
    try:
        found = Path(path).stat()
        return _lines_of(path, (found.st_mtime_ns, found.st_size))
    except OSError:
        return []


def _columns(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if character.isascii():
        return 1
    import unicodedata

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
