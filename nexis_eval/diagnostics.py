"""Renders errors for people: place, fact, source line with a caret, how the file came in, and the cure."""

from __future__ import annotations

from pathlib import Path

from nexis_eval.config.errors import ConfigError, ConfigErrors
from nexis_store.errors import NexisError, Place

_RED, _BLUE, _GREEN, _BOLD, _PLAIN = "\x1b[31;1m", "\x1b[34m", "\x1b[32m", "\x1b[1m", "\x1b[0m"
_WIDTH = 140
"""Longer source lines are cut around the caret, in characters."""


def render(error: NexisError, *, colour: bool) -> str:
    """What to print for ``error``, without a line break at the end."""
    if isinstance(error, ConfigErrors):
        parts = [_one(each, colour) for each in error.errors]
        if len(parts) > 1:
            parts.append(f"{len(parts)} errors")
        return "\n\n".join(parts)
    return _one(error, colour)


def _paint(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{_PLAIN}" if colour else text


def _one(error: NexisError, colour: bool) -> str:
    place = f"{_paint(str(error.place), _BOLD, colour)}: " if error.place else ""
    lines = [f"{place}{_paint('error', _RED, colour)}: {error.message} [{error.code}]"]
    length = error.length if isinstance(error, ConfigError) else 0
    if error.place is not None:
        lines += excerpt(error.place, length, colour=colour)
    if isinstance(error, ConfigError):
        for note in error.notes:
            lines.append(f"{_paint(str(note.place), _BOLD, colour)}: {_paint('note', _BLUE, colour)}: {note.text}")
            lines += excerpt(note.place, 0, colour=colour)
        lines += [f"included from {place}" for place in error.included_from]
    if error.hint:
        lines.append(f"{_paint('hint', _GREEN, colour)}: {error.hint}")
    return "\n".join(lines)


def excerpt(place: Place, length: int, *, colour: bool) -> list[str]:
    """The line at ``place`` and one that underlines ``length`` characters; nothing if it cannot be read."""
    if not place.line:
        return []
    try:
        text = Path(place.file).read_bytes().removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    except OSError:
        return []
    lines = text.split("\n")
    if place.line > len(lines):
        return []
    line = lines[place.line - 1].rstrip("\r")
    start = min(place.column - 1, len(line))
    length = max(1, min(length, len(line) - start))
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
        f"{_paint(f'  {number} |', _BLUE, colour)} {_printable(shown)}".rstrip(),
        f"{_paint('  ' + ' ' * len(number) + ' |', _BLUE, colour)} {blank}{_paint(underline, _RED, colour)}",
    ]


def _columns(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if character.isascii():
        return 1
    import unicodedata

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _printable(text: str) -> str:
    """Nothing in a file may steer the terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
