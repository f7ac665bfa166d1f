"""Damage for bytes: what disks, networks and people do to files, and what somebody does who means harm."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

MAX_SIZE = 1 << 20

_INTERESTING = [
    0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1,
]  # fmt: skip
_TOKENS = [
    b"\0", b"\n", b"\r\n", b"\x1b[2J", b"../", b"/", b"//", b"./", b"\\", b'"', b"'", b"'''", b'"""', b"[", b"[[", b"]",
    b"{", b"}", b"(", b")", b"=", b".", b",", b"#", b"%2F", b"\xff", b"\xc3", b"\xed\xa0\x80", b"-1", b"1e999", b"nan",
    b"0x" + b"f" * 40, b"9" * 30, b"9" * 5000, b"A" * 300, b"[" * 2000, b"a." * 600, "ä€😀".encode(), b"null", b"true",
]  # fmt: skip
_NUMBER = re.compile(rb"\d+")


def _flip(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _number(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    width = rng.choice((2, 4, 8))
    at = rng.randrange(len(data))
    value = rng.choice(_INTERESTING) & ((1 << 8 * width) - 1)
    data[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))


def _step(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    data[at] = (data[at] + rng.choice((-2, -1, 1, 2))) % 256


def _cut(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 4, 16, 512))]


def _repeat(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    part = data[at : at + rng.choice((1, 4, 16, 60, 512))]
    data[at:at] = part * rng.choice((1, 2, 3, 50))


def _insert(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(_TOKENS)


def _zero(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    size = min(rng.choice((1, 8, 512, 4096)), len(data) - at)
    data[at : at + size] = bytes(size)


def _splice(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = rng.choice(seeds)
    if other:
        start = rng.randrange(len(other))
        at = rng.randrange(len(data) + 1)
        size = rng.choice((4, 16, 60, 512, len(other)))
        data[at : at + rng.choice((0, size))] = other[start : start + size]


def _swap(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    size = rng.choice((1, 8, 60, 512))
    first, second = (rng.randrange(len(data)) for _ in range(2))
    one, other = data[first : first + size], data[second : second + size]
    if len(one) == len(other):
        data[first : first + size], data[second : second + size] = other, one


def _digits(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    numbers = list(_NUMBER.finditer(data[:65536]))
    if numbers:
        number = rng.choice(numbers)
        data[number.start() : number.end()] = rng.choice((b"0", b"-1", b"8" * 20, b"7" * 400, b"1.5", b"", b"0777"))


_STEPS = (_flip, _flip, _set, _number, _number, _step, _cut, _drop, _repeat, _insert, _insert, _zero, _splice, _swap,
          _digits)  # fmt: skip


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of ``seeds`` with one to eight changes; at most ``MAX_SIZE`` bytes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        if not data:
            data += rng.choice(_TOKENS)
        rng.choice(_STEPS)(rng, data, seeds)
    return bytes(data[:MAX_SIZE])
