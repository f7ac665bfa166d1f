"""Opens two differing files as far as their formats are known and shows what differs inside. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from difflib import unified_diff

from nexis_eval.repro.clocks import spelt
from nexis_eval.repro.content.base import Data, Fields, FormatError, Parsed, Part
from nexis_eval.repro.content.detect import parse
from nexis_eval.repro.evidence import differing_ranges, is_reordered, of_bytes, of_field, of_text
from nexis_eval.repro.findings import Cause, Evidence, Strength, View
from nexis_eval.repro.surroundings import UNKNOWN_SIDES, Sides

MAX_DEPTH = 8
MAX_DIFF_LINES = 200
MAX_TEXT_LINES = 20_000
MAX_PARTS = 200
HEX_RANGES = 8
UNEXPLAINED = "contents differ; no known cause was recognised"
MAX_WHOLE_BYTES = 256 << 20
"""Files beyond this are compared by their formats' parts only, not byte by byte."""


def open_pair(title: str, before: Data, after: Data, sides: Sides = UNKNOWN_SIDES, depth: int = 0) -> View | None:
    """What differs between two files; ``None`` if nothing does."""
    if before[:] == after[:] if isinstance(before, bytes) and isinstance(after, bytes) else _same(before, after):
        return None
    first = parse(before) if depth < MAX_DEPTH else None
    second = parse(after) if first is not None else None
    if first is not None and second is not None and first.format == second.format:
        parts = _containers(first, second, sides, depth)
        if parts:
            return View(title, first.format, parts=tuple(parts))
        return _compressed_differently(title, first)
    return _leaf(title, before, after, sides)


def _same(before: Data, after: Data) -> bool:
    step = 1 << 20
    if len(before) != len(after):
        return False
    return all(before[at : at + step] == after[at : at + step] for at in range(0, len(before), step))


def _compressed_differently(title: str, parsed: Parsed) -> View:
    why = f"the {parsed.format} holds the same parts, stored differently: another tool, level, layout or thread count"
    return View(title, parsed.format, evidence=(Evidence(Cause.UNKNOWN, Strength.HINT, why),))


def _containers(before: Parsed, after: Parsed, sides: Sides, depth: int) -> list[View]:
    views = list(_fields(before.fields, after.fields, sides))
    first, second = _named(before.parts), _named(after.parts)
    names_before, names_after = list(first), list(second)
    if before.ordered and is_reordered(names_before, names_after):
        diff = _diff(names_before, names_after)
        why = f"the same {len(first)} parts in another order"
        views.append(View("order", "order", diff=diff, evidence=(Evidence(Cause.ORDER, Strength.PROOF, why),)))
    missing = [name for name in names_before if name not in second]
    added = [name for name in names_after if name not in first]
    if missing or added:
        views.append(View("names", "text", diff=_diff(missing, added), evidence=tuple(of_text(missing, added, sides))))
    shared: list[View] = []
    for name, part in first.items():
        if name not in second:
            continue
        view = _part(name, part, second[name], sides, depth)
        if view is not None:
            shared.append(view)
    views += _thinned(shared)
    return views


def _thinned(views: list[View]) -> list[View]:
    """Thousands of members with a new time stamp are one finding: show the first and say how many there are."""
    if len(views) <= MAX_PARTS:
        return views
    rest = views[MAX_PARTS:]
    kinds = Counter(each.cause for view in rest for each in view.all_evidence() if each.strength)
    more = View(
        f"and {len(rest)} more parts",
        "more",
        evidence=tuple(Evidence(cause, Strength.HINT, f"in {count} of them") for cause, count in kinds.items()),
    )
    return [*views[:MAX_PARTS], more]


def _named(parts: tuple[Part, ...]) -> dict[str, Part]:
    """Parts by name; a name that is used again gets a number."""
    named: dict[str, Part] = {}
    for part in parts:
        name, number = part.name, 1
        while name in named:
            number += 1
            name = f"{part.name} #{number}"
        named[name] = part
    return named


def _fields(before: Fields, after: Fields, sides: Sides) -> Iterator[View]:
    first, second = dict(before), dict(after)
    for label in dict.fromkeys((*first, *second)):
        old, new = first.get(label, ""), second.get(label, "")
        if old != new:
            yield View(label, "field", spelt(old), spelt(new), evidence=tuple(of_field(label, old, new, sides)))


def _part(name: str, before: Part, after: Part, sides: Sides, depth: int) -> View | None:
    views = list(_fields(before.fields, after.fields, sides))
    try:
        old, new = before.read(), after.read()
    except FormatError as error:
        return View(name, "unreadable", evidence=(Evidence(Cause.UNKNOWN, Strength.HINT, str(error)),))
    content = open_pair(name, old, new, sides, depth + 1)
    if not views:
        return content
    if content is not None:
        views.append(content)
    return View(name, "member", parts=tuple(views))


def as_text(data: Data) -> list[str] | None:
    """The lines of a text, or ``None`` for anything else."""
    head = data[:8192]
    if b"\0" in head:
        return None
    try:
        text = bytes(data).decode()
    except UnicodeDecodeError:
        return None
    odd = sum(1 for letter in text[:4096] if ord(letter) < 32 and letter not in "\n\r\t\f\x1b")
    return text.splitlines() if odd * 20 <= min(len(text), 4096) else None


def _leaf(title: str, before: Data, after: Data, sides: Sides) -> View:
    first, second = as_text(before), as_text(after)
    if first is not None and second is not None:
        if first == second:
            why = "only line ends differ"
            return View(title, "text", evidence=(Evidence(Cause.UNKNOWN, Strength.HINT, why),))
        return View(title, "text", diff=_diff(first, second), evidence=_or_unexplained(of_text(first, second, sides)))
    if max(len(before), len(after)) > MAX_WHOLE_BYTES:
        why = f"{len(before)} and {len(after)} bytes of no known format"
        return View(title, "bytes", evidence=(Evidence(Cause.UNKNOWN, Strength.HINT, why),))
    old, new = bytes(before), bytes(after)
    diff = tuple(_hex_lines(old, new))
    return View(title, "bytes", diff=diff, evidence=_or_unexplained(of_bytes(old, new, sides)))


def _or_unexplained(found: list[Evidence]) -> tuple[Evidence, ...]:
    return tuple(found) or (Evidence(Cause.UNKNOWN, Strength.HINT, UNEXPLAINED),)


def _diff(before: list[str], after: list[str]) -> tuple[str, ...]:
    """A unified diff, cut where it gets long; common ends are removed first, because difflib is slow on long texts."""
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    low = max(0, head - 3)
    old, new = before[low : len(before) - max(0, tail - 3)], after[low : len(after) - max(0, tail - 3)]
    old, new = old[:MAX_TEXT_LINES], new[:MAX_TEXT_LINES]
    if len(old) * len(new) > 4_000_000:
        old, new = old[:MAX_DIFF_LINES], new[:MAX_DIFF_LINES]
    lines = [line.rstrip("\n") for line in unified_diff(old, new, lineterm="", n=2)][2:]
    if len(lines) > MAX_DIFF_LINES:
        lines = [*lines[:MAX_DIFF_LINES], f"… {len(lines) - MAX_DIFF_LINES} more lines"]
    return tuple(lines)


def _hex_lines(before: bytes, after: bytes) -> Iterator[str]:
    if len(before) != len(after):
        yield f"@@ {len(before)} bytes, {len(after)} bytes @@"
    ranges = differing_ranges(before, after, join=32, limit=HEX_RANGES + 1)
    for start, end in ranges[:HEX_RANGES]:
        low = start & ~15
        high = min(low + 64, (end + 15) & ~15)
        yield f"@@ offset {start:#x}, {end - start} bytes @@"
        for mark, data in (("-", before), ("+", after)):
            for at in range(low, high, 16):
                row = data[at : at + 16]
                shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
                yield f"{mark}{at:08x}  {row.hex(' ').ljust(47)}  {shown}"
    if len(ranges) > HEX_RANGES:
        yield "… more ranges differ"
