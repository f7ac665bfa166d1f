"""Reads two differing texts, values or byte strings and says what their difference looks like. Pure."""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher

from nexis_eval.repro.clocks import Moment, binary_moments, moments, spelt
from nexis_eval.repro.findings import Cause, Evidence, Strength
from nexis_eval.repro.surroundings import Sides

MAX_LINE = 4000
MAX_SPAN_BYTES = 4096
FOLLOWS = re.compile(r"crc|checksum|digest|sha\d|md5|size|build id|blocks|offset|hint|entry address", re.IGNORECASE)

_TOKEN = re.compile(r"[\w.+:/@%~-]+|\s+|[^\w\s]")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_POINTER = re.compile(r"\b0x[0-9a-f]{6,16}\b|\b0{0,8}(?:7f|5[56])[0-9a-f]{10}\b", re.IGNORECASE)
_HEX = re.compile(r"\b[0-9a-f]{16,}\b", re.IGNORECASE)
_TEMPORARY = re.compile(r"(?:/|\b)(?:tmp|temp|cc|te?mp)[./_-]?[A-Za-z0-9_]{5,}")
_LONG_LISTING = re.compile(r"[-dlcbps][rwxsStT-]{9}")
_OCTAL_MODE = re.compile(r"\b0?[0-7]{3,4}\b|\b10[0-7]{4}\b")
_NUMBER = re.compile(r"\d+")
_STRINGS = re.compile(rb"[\x20-\x7e\t]{4,}")


def of_field(label: str, before: str, after: str, sides: Sides) -> list[Evidence]:
    """A named value of a header or member that differs."""
    low = label.lower()
    what = f"the {label} is {spelt(before) or 'absent'} and {spelt(after) or 'absent'}"
    if FOLLOWS.search(low):
        return [Evidence(Cause.UNKNOWN, Strength.FOLLOWS, what)]
    if "mtime" in before or re.search(r"\btimes?\b|mtime|ctime|atime|date", low):
        return [Evidence(Cause.TIMESTAMP, Strength.PROOF, what)]
    if low in ("uid", "gid", "owner", "group", "uname", "gname"):
        return [Evidence(Cause.IDENTITY, Strength.PROOF, what)]
    if re.search(r"\bmode\b|permission", low):
        return [Evidence(Cause.PERMISSIONS, Strength.PROOF, what)]
    if re.search(r"uuid|guid|serial|seed|salt", low):
        return [Evidence(Cause.RANDOMNESS, Strength.LIKELY, what)]
    if low in ("inode", "links"):
        return [Evidence(Cause.FILESYSTEM, Strength.HINT, what)]
    return of_lines(f"{label} {before}", f"{label} {after}", sides)


def is_reordered(before: Iterable[object], after: Iterable[object]) -> bool:
    """Whether both have the same elements, as often, in another order."""
    first, second = list(before), list(after)
    return first != second and len(first) == len(second) and Counter(first) == Counter(second)


def of_text(before: list[str], after: list[str], sides: Sides) -> list[Evidence]:
    """Two differing texts as lines."""
    if is_reordered(before, after):
        return [Evidence(Cause.ORDER, Strength.PROOF, f"the same {len(before)} lines in another order")]
    first, second = "\n".join(before), "\n".join(after)
    for separator, name in ((r"[\s,;]+", "words"), (r"[\s,;:=(){}\[\]\"'|]+", "words")):
        if is_reordered(_words(separator, first), _words(separator, second)):
            return [Evidence(Cause.ORDER, Strength.PROOF, f"the same {name} in another order")]
    found: list[Evidence] = []
    for old, new in _paired_lines(before, after):
        found += of_lines(old, new, sides)
    return _distinct(found)


def _words(separator: str, text: str) -> list[str]:
    return [word for word in re.split(separator, text) if word]


def _paired_lines(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    """Lines that changed, each with its counterpart; a block that grew or shrank is paired as far as it goes."""
    moved = Counter(before) & Counter(after)
    old, new = _without(before, moved), _without(after, moved)
    for index in range(max(len(old), len(new))):
        yield old[index] if index < len(old) else "", new[index] if index < len(new) else ""


def _without(lines: list[str], common: Counter[str]) -> list[str]:
    left = Counter(common)
    kept = []
    for line in lines:
        if left[line] > 0:
            left[line] -= 1
        else:
            kept.append(line)
    return kept


def of_lines(before: str, after: str, sides: Sides) -> list[Evidence]:
    """One line that differs from another: the differing words, what they are."""
    before, after = before[:MAX_LINE], after[:MAX_LINE]
    found = list(_known_values(before, after, sides))
    spans = list(_differing_spans(before, after))
    moments_before, moments_after = list(moments(before)), list(moments(after))
    for (start, end), (other_start, other_end) in spans:
        old, new = before[start:end], after[other_start:other_end]
        timed = _time_evidence(
            _overlapping(moments_before, start, end), _overlapping(moments_after, other_start, other_end), sides
        )
        if timed is not None:
            found.append(timed)
        elif not any(each.strength is Strength.PROOF for each in found):
            found += _shape_evidence(old, new, sides)
    return _distinct(found)


def _overlapping(found: list[Moment], start: int, end: int) -> list[Moment]:
    return [moment for moment in found if moment.start < max(end, start + 1) and moment.end > start]


def _time_evidence(before: list[Moment], after: list[Moment], sides: Sides) -> Evidence | None:
    """Times in both texts: proof if the two builds' clocks could have shown them."""
    if not before or not after:
        return None
    first = next((each for each in before if each.within(sides[0].clock)), None)
    second = next((each for each in after if each.within(sides[1].clock)), None)
    if first and second:
        why = f"{first.text} and {second.text} are times that the builds' clocks showed"
        return Evidence(Cause.TIMESTAMP, Strength.PROOF, why)
    return Evidence(Cause.TIMESTAMP, Strength.LIKELY, f"{before[0].text} and {after[0].text} are dates or times")


def _differing_spans(before: str, after: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    first = [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(before)]
    second = [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(after)]
    matcher = SequenceMatcher(None, [each[0] for each in first], [each[0] for each in second], autojunk=False)
    for tag, low, high, other_low, other_high in matcher.get_opcodes():
        if tag == "equal":
            continue
        yield (_bounds(first, low, high, len(before)), _bounds(second, other_low, other_high, len(after)))


def _bounds(tokens: list[tuple[str, int, int]], low: int, high: int, length: int) -> tuple[int, int]:
    if low < high:
        return tokens[low][1], tokens[high - 1][2]
    at = tokens[low][1] if low < len(tokens) else length
    return at, at


def _known_values(before: str, after: str, sides: Sides) -> Iterator[Evidence]:
    """The values in which the two builds' surroundings differ, if each shows in its own output and not in the other."""
    first_words = {what: value for _, what, value in sides[0].words()}
    for cause, what, value in sides[1].words():
        other = first_words[what]
        if value == other or not value:
            continue
        if value in after and value not in before and (not other or other in before or len(value) > 5):
            both = f"{other} and {value}" if other and other in before else value
            yield Evidence(cause, Strength.PROOF, f"{what} got into the output: {both}")
    numbers_before = set(_NUMBER.findall(before))
    numbers_after = set(_NUMBER.findall(after))
    first_numbers = {what: spellings for _, what, spellings in sides[0].numbers()}
    for cause, what, spellings in sides[1].numbers():
        others = first_numbers.get(what, ())
        news = [each for each in spellings if each in numbers_after - numbers_before and each not in others]
        olds = [each for each in others if each in numbers_before - numbers_after and each not in spellings]
        if news and olds:
            strength = Strength.PROOF if len(news[0]) > 1 or len(before) < 200 else Strength.LIKELY
            yield Evidence(cause, strength, f"{what} got into the output: {olds[0]} and {news[0]}")


def _shape_evidence(before: str, after: str, sides: Sides) -> Iterator[Evidence]:
    """What the differing words look like, when no known value explains them."""
    if _UUID.search(before) and _UUID.search(after):
        yield Evidence(Cause.RANDOMNESS, Strength.LIKELY, "two different UUIDs")
        return
    if _TEMPORARY.search(before) and _TEMPORARY.search(after):
        yield Evidence(Cause.PATH, Strength.LIKELY, f"names of temporary files: {before} and {after}")
        return
    if _POINTER.search(before) and _POINTER.search(after):
        yield Evidence(Cause.ADDRESS, Strength.LIKELY, f"these look like pointers: {before} and {after}")
        return
    if before.startswith("/") and after.startswith("/"):
        yield Evidence(Cause.PATH, Strength.LIKELY, f"two paths: {before} and {after}")
        return
    if _LONG_LISTING.search(before) and _LONG_LISTING.search(after):
        yield Evidence(Cause.PERMISSIONS, Strength.LIKELY, f"two modes: {before} and {after}")
        return
    if before != after and before.replace(",", ".") == after.replace(",", "."):
        yield Evidence(Cause.LOCALE, Strength.LIKELY, f"another decimal mark: {before} and {after}")
        return
    if before.lower() == after.lower():
        yield Evidence(Cause.LOCALE, Strength.HINT, "upper and lower case differ")
        return
    if _HEX.search(before) and _HEX.search(after):
        yield Evidence(Cause.RANDOMNESS, Strength.LIKELY, "two random-looking numbers in hexadecimal")
        return
    if _looks_random(before) and _looks_random(after):
        yield Evidence(Cause.RANDOMNESS, Strength.HINT, f"random-looking: {before} and {after}")
        return
    if _OCTAL_MODE.fullmatch(before) and _OCTAL_MODE.fullmatch(after):
        yield Evidence(Cause.PERMISSIONS, Strength.HINT, f"these could be modes: {before} and {after}")
    if _NUMBER.fullmatch(before) and _NUMBER.fullmatch(after) and min(len(before), len(after)) > 2:
        yield Evidence(Cause.RANDOMNESS, Strength.HINT, f"two unrelated numbers: {before} and {after}")


def _looks_random(text: str) -> bool:
    if len(text) < 8 or not re.fullmatch(r"[A-Za-z0-9+/=_.-]+", text):
        return False
    return entropy(text.encode()) > 0.8 * math.log2(min(len(text), 64)) and any(map(str.isdigit, text))


def entropy(data: bytes) -> float:
    """Shannon entropy in bits per byte."""
    total = len(data)
    return -sum(count / total * math.log2(count / total) for count in Counter(data).values()) if total else 0.0


def of_bytes(before: bytes, after: bytes, sides: Sides) -> list[Evidence]:
    """Two differing byte strings that are no text."""
    found: list[Evidence] = []
    texts_before = [each.decode() for each in _STRINGS.findall(before)]
    texts_after = [each.decode() for each in _STRINGS.findall(after)]
    if is_reordered(before.split(b"\0"), after.split(b"\0")) or (
        len(texts_before) > 1 and is_reordered(texts_before, texts_after)
    ):
        found.append(Evidence(Cause.ORDER, Strength.LIKELY, "the same strings in another order"))
        return found
    if texts_before != texts_after:
        found += of_text(texts_before, texts_after, sides)
        if found:
            return found
    if len(before) != len(after):
        return found
    for width in (4, 8, 16, 24, 32):
        if len(before) % width == 0 and len(before) > 2 * width:
            cut = range(0, len(before), width)
            if is_reordered([before[at : at + width] for at in cut], [after[at : at + width] for at in cut]):
                return [Evidence(Cause.ORDER, Strength.LIKELY, f"the same records of {width} bytes in another order")]
    for start, end in differing_ranges(before, after):
        found += _range_evidence(before, after, start, end, sides)
        if len(found) > 16:
            break
    return _distinct(found)


def differing_ranges(before: bytes, after: bytes, join: int = 4, limit: int = 64) -> list[tuple[int, int]]:
    """Where two byte strings of one length differ; ranges less than ``join`` bytes apart are one."""
    ranges: list[tuple[int, int]] = []
    length = min(len(before), len(after))
    block = 4096
    for low in range(0, length, block):
        if before[low : low + block] == after[low : low + block]:
            continue
        for at in range(low, min(low + block, length)):
            if before[at] != after[at]:
                if ranges and at - ranges[-1][1] < join:
                    ranges[-1] = (ranges[-1][0], at + 1)
                elif len(ranges) >= limit:
                    return ranges
                else:
                    ranges.append((at, at + 1))
    return ranges


def _range_evidence(before: bytes, after: bytes, start: int, end: int, sides: Sides) -> Iterator[Evidence]:
    old, new = before[start : min(end, start + MAX_SPAN_BYTES)], after[start : min(end, start + MAX_SPAN_BYTES)]
    for fill, text, which in ((sides[1].fill, new, "second"), (sides[0].fill, old, "first")):
        if fill and len(text) > 1 and set(text) <= set(fill):
            why = f"{len(text)} bytes at offset {start} hold what the {which} build's memory was filled with"
            yield Evidence(Cause.UNINITIALISED, Strength.PROOF, why)
            return
    old_times = {(at, layout): value for at, layout, value in binary_moments(before, start, end)}
    best: Evidence | None = None
    for at, layout, value in binary_moments(after, start, end):
        other = old_times.get((at, layout))
        if other is None or other == value:
            continue
        first, second = sides[0].clock, sides[1].clock
        if first and second and first[0] - 2 <= other <= first[1] + 2 and second[0] - 2 <= value <= second[1] + 2:
            why = f"the number at offset {at} is a time that the builds' clocks showed: {other} and {value}"
            yield Evidence(Cause.TIMESTAMP, Strength.PROOF, why)
            return
        if not (first and second):
            best = Evidence(Cause.TIMESTAMP, Strength.HINT, f"the numbers at offset {at} could be times")
    low = start & ~7
    words = [struct.unpack_from("<Q", each, low)[0] for each in (before, after) if low + 8 <= len(each)]
    if len(words) == 2 and all(0x5500_0000_0000 <= word <= 0x7FFF_FFFF_FFFF for word in words):
        yield Evidence(Cause.ADDRESS, Strength.LIKELY, f"pointers at offset {low}: {words[0]:#x} and {words[1]:#x}")
    elif best is not None:
        yield best
    elif len(old) >= 16 and entropy(old) > 3.4 and entropy(new) > 3.4:
        yield Evidence(Cause.RANDOMNESS, Strength.HINT, f"{end - start} random-looking bytes at offset {start}")


def _distinct(found: list[Evidence]) -> list[Evidence]:
    return list(dict.fromkeys(found))
