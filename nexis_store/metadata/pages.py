"""Reading LMDB's file page by page, to prove it before the library maps it.

The library trusts its file: a page that is not what it should be kills the process or gives wrong answers, and no
page has a checksum. Here every page that can be reached is read and checked: its kind, its bounds, the order of its
keys, the counts in the headers, the list of free pages. The format is that of LMDB 0.9: ``struct MDB_meta``,
``MDB_page`` and ``MDB_node`` in its ``mdb.c``.

Of the two headers the library believes the one with the greater transaction number, so a bit there would bring back an
older state. The numbers follow each other, the even ones in the first header; and each transaction but the first
replaces the root page, so each state's list of free pages ends with those that its own transaction freed. (The state
before the newest is whole as well: its pages are used again only by the transaction after the next.)
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Callable
from typing import NamedTuple

from nexis_store import fs

MAGIC = 0xBEEFC0DE
VERSION = 1

_META = struct.Struct("=II16x")
_DATABASE = struct.Struct("=IHHQQQQQ")
_TAIL = struct.Struct("=QQ")
_HEADER = struct.Struct("=QHHHH")
_HEADER_BYTES = 40 + 2 * _DATABASE.size + _TAIL.size
_PAGES = struct.Struct("=I")
_NODE = struct.Struct("=HHHH")
_NUMBER = struct.Struct("=Q")

_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04
_KINDS = 0x2F
_ORDER_FLAGS = 0x7E
"""The flags of a tree that say how its keys are ordered."""
_INTEGER_KEYS = 0x08
_IN_OVERFLOW = 0x01
_EMPTY = 0xFFFFFFFFFFFFFFFF
_ATTEMPTS = 20


class PageError(Exception):
    """What is wrong with the file."""


class _Tree(NamedTuple):
    flags: int
    depth: int
    branches: int
    leaves: int
    overflow: int
    entries: int
    root: int


class _Meta(NamedTuple):
    page_size: int
    free: _Tree
    main: _Tree
    last_page: int
    transaction: int


def pair_sum(key: bytes, value: bytes | None) -> int:
    """What a pair adds to the sum over all pairs."""
    return 0 if value is None else zlib.crc32(value, zlib.crc32(key))


def check(path: str, sum_key: bytes) -> None:
    """Raise ``PageError`` unless the file at ``path`` is whole; ``OSError`` if it cannot be read.

    The value of ``sum_key``, if there is one, must be the sum (``pair_sum``) over all other pairs. Others may write
    meanwhile. A file of another version is left to the library.
    """
    fd = fs.open_regular(path)
    try:
        for _ in range(_ATTEMPTS):
            headers = _headers(fd)
            try:
                metas = _states(headers)
                if metas is not None:
                    older, newest = metas
                    _File(fd, older).check_free()
                    _File(fd, newest).check(sum_key)
                return
            except (PageError, struct.error, ValueError) as error:
                # Pages of an older state are used again by those who write.
                if _headers(fd) == headers:
                    raise PageError(str(error)) from error
    finally:
        os.close(fd)


def _headers(fd: int) -> tuple[bytes, bytes]:
    """The bytes of both headers; raises ``PageError`` if the file does not have them."""
    first = os.pread(fd, _HEADER_BYTES, 0)
    second = os.pread(fd, _HEADER_BYTES, _page_size(first))
    if len(second) < _HEADER_BYTES:
        raise PageError("it is cut short")
    return first, second


def _page_size(header: bytes) -> int:
    if len(header) < _HEADER_BYTES:
        raise PageError("it is cut short")
    page_size: int = _DATABASE.unpack_from(header, 40)[0]
    if page_size not in (1 << power for power in range(9, 17)):
        raise PageError("its header is damaged")
    return page_size


def _states(headers: tuple[bytes, bytes]) -> tuple[_Meta, _Meta] | None:
    """The older state and the newest, which the library believes; ``None`` for a file of another version."""
    first, second = map(_read_meta, headers)
    if first is None or second is None:
        return None
    if first.page_size != second.page_size:
        raise PageError("its two headers differ")
    one, other = first.transaction, second.transaction
    if (one, other) == (0, 0):
        # Nobody has written to it yet.
        if first != second or first.main.root != _EMPTY:
            raise PageError("its two headers do not follow each other")
    elif abs(one - other) != 1 or one % 2:
        raise PageError("its two headers do not follow each other")
    return (first, second) if other >= one else (second, first)


def _read_meta(data: bytes) -> _Meta | None:
    magic, version = _META.unpack_from(data, 16)
    if magic != MAGIC:
        raise PageError("its header is damaged")
    if version != VERSION:
        return None
    free, main = (_Tree(*_DATABASE.unpack_from(data, 40 + index * _DATABASE.size)[1:]) for index in range(2))
    if free.flags & _ORDER_FLAGS != _INTEGER_KEYS or main.flags & _ORDER_FLAGS:
        raise PageError("its header is damaged")
    return _Meta(_page_size(data), free, main, *_TAIL.unpack_from(data, 40 + 2 * _DATABASE.size))


class _File:
    """One state of the file."""

    def __init__(self, fd: int, meta: _Meta) -> None:
        self._fd = fd
        self._meta = meta
        self._size = meta.page_size
        self._used = {0, 1}

    def check(self, sum_key: bytes) -> None:
        """Raise ``PageError`` for what is wrong."""
        total = 0
        expected: int | None = None

        def add(key: bytes, value: bytes) -> None:
            nonlocal total, expected
            if key == sum_key:
                expected = int(value)
            else:
                total += zlib.crc32(value, zlib.crc32(key))

        free = self.check_free()
        self._walk(self._meta.main, add, numbers=False)
        if not free.isdisjoint(self._used):
            raise PageError("its list of free pages names pages in use")
        if expected is not None and expected != total % (1 << 64):
            raise PageError("a key or a value is not what was written")

    def check_free(self) -> set[int]:
        """The numbers of the free pages. Raises ``PageError`` if they are not those of this state."""
        free: set[int] = set()
        newest = 0

        def release(key: bytes, value: bytes) -> None:
            nonlocal newest
            newest = max(newest, *_NUMBER.unpack(key))
            numbers = struct.unpack_from(f"={len(value) // 8}Q", value)
            if not numbers or numbers[0] >= len(numbers):
                raise PageError("its list of free pages is damaged")
            for number in numbers[1 : numbers[0] + 1]:
                if number in free or number > self._meta.last_page:
                    raise PageError("its list of free pages is damaged")
                free.add(number)

        self._walk(self._meta.free, release, numbers=True)
        if newest != (self._meta.transaction if self._meta.transaction > 1 else 0):
            raise PageError("one of its headers is of another state than its pages")
        return free

    def _page(self, number: int, kind: int, count: int = 1) -> bytes:
        if number > self._meta.last_page or not self._used.isdisjoint(range(number, number + count)):
            raise PageError(f"page {number} is outside of the file or used twice")
        self._used.update(range(number, number + count))
        data = os.pread(self._fd, self._size * count, number * self._size)
        if len(data) != self._size * count:
            raise PageError(f"it is cut short before page {number}")
        own, _, flags, _, _ = _HEADER.unpack_from(data)
        if own != number or flags & _KINDS != kind:
            raise PageError(f"page {number} is damaged")
        return data

    def _walk(self, tree: _Tree, visit: Callable[[bytes, bytes], None], *, numbers: bool) -> None:
        branches = leaves = entries = 0
        overflow = 0
        stack: list[tuple[int, int, bytes | None, bytes | None]] = []
        if tree.root != _EMPTY:
            stack.append((tree.root, 1, None, None))
        elif tree.entries or tree.depth:
            raise PageError("its header is damaged")
        while stack:
            number, level, low, high = stack.pop()
            leaf = level == tree.depth
            page = self._page(number, _LEAF if leaf else _BRANCH)
            lower, upper = _HEADER.unpack_from(page)[3:]
            if not 18 <= lower <= upper <= self._size or lower % 2:
                raise PageError(f"page {number} is damaged")
            offsets = struct.unpack_from(f"={(lower - 16) // 2}H", page, 16)
            keys: list[bytes] = []
            below: list[int] = []
            for offset in offsets:
                if not upper <= offset <= self._size - 8:
                    raise PageError(f"page {number} is damaged")
                small, large, flags, length = _NODE.unpack_from(page, offset)
                start = offset + 8
                key = page[start : start + length]
                if not leaf:
                    below.append(small | large << 16 | flags << 32)
                    keys.append(_ordered(key) if numbers else key)
                    continue
                size = small | large << 16
                start += length
                if flags == _IN_OVERFLOW:
                    if start + 8 > self._size:
                        raise PageError(f"page {number} is damaged")
                    (first,) = _NUMBER.unpack_from(page, start)
                    count = (15 + size) // self._size + 1
                    pages = self._page(first, _OVERFLOW, count)
                    if _PAGES.unpack_from(pages, 12)[0] != count:
                        raise PageError(f"page {first} is damaged")
                    overflow += count
                    value = pages[16 : 16 + size]
                elif flags or start + size > self._size:
                    raise PageError(f"page {number} is damaged")
                else:
                    value = page[start : start + size]
                keys.append(_ordered(key) if numbers else key)
                visit(key, value)
            ordered = keys if leaf else keys[1:]
            previous = low
            for key in ordered:
                if previous is not None and (key < previous or (key == previous and previous is not low)):
                    raise PageError(f"the keys of page {number} are out of order")
                previous = key
            if high is not None and previous is not None and previous >= high:
                raise PageError(f"the keys of page {number} are out of order")
            if leaf:
                leaves += 1
                entries += len(keys)
                continue
            branches += 1
            lows = [low, *keys[1:]]
            highs = [*keys[1:], high]
            for child, bound, limit in zip(below, lows, highs, strict=True):
                stack.append((child, level + 1, bound, limit))
        if (branches, leaves, overflow, entries) != (tree.branches, tree.leaves, tree.overflow, tree.entries):
            raise PageError("it has other pages or pairs than its header says")


def _ordered(number: bytes) -> bytes:
    """An integer of this machine, whose bytes are in the order of its value."""
    return number[::-1] if sys.byteorder == "little" else number
