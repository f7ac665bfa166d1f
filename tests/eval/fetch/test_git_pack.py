"""Packs: those of the real git, large objects within bounded memory, and hostile ones."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexis_eval.fetch import git_pack
from nexis_eval.fetch.git_pack import BLOB, OFFSET_DELTA, REFERENCE_DELTA, MappedFile, Pack, PackError, apply_delta
from tests.eval.fetch.repositories import Repository


def header(kind: int, size: int) -> bytes:
    parts = [(kind << 4) | (size & 15)]
    size >>= 4
    while size:
        parts[-1] |= 128
        parts.append(size & 127)
        size >>= 7
    return bytes(parts)


def number(value: int) -> bytes:
    parts = [value & 127]
    while value := value >> 7:
        parts[-1] |= 128
        parts.append(value & 127)
    return bytes(parts)


def offset(back: int) -> bytes:
    parts = [back & 127]
    while back := back >> 7:
        back -= 1
        parts.insert(0, 128 | (back & 127))
    return bytes(parts)


def copied(size: int) -> bytes:
    """The instruction that copies the first ``size`` bytes of the base."""
    return b"\xf0" + size.to_bytes(3, "little")


def entry(kind: int, data: bytes, base: bytes = b"", *, size: int | None = None) -> bytes:
    return header(kind, len(data) if size is None else size) + base + zlib.compress(data, 9)


def pack_of(*entries: bytes, count: int | None = None) -> bytes:
    body = struct.pack(">4sII", b"PACK", 2, len(entries) if count is None else count) + b"".join(entries)
    return body + hashlib.sha1(body).digest()


def read(directory: Path, data: bytes) -> dict[str, tuple[bytes, bytes]]:
    path = directory / "pack"
    path.write_bytes(data)
    objects: dict[str, tuple[bytes, bytes]] = {}

    def take(name: str, kind: bytes, content: bytes | MappedFile) -> None:
        objects[name] = (kind, bytes(content.map) if isinstance(content, MappedFile) else content)

    with Pack(path, "sha1", directory) as pack:
        pack.read(take)
    for name, (kind, content) in objects.items():
        assert hashlib.sha1(b"%s %d\0" % (kind, len(content)) + content).hexdigest() == name
    assert [each.name for each in directory.iterdir()] == ["pack"]
    return objects


def real_pack(directory: Path, *, size: int) -> bytes:
    """A pack with chains of deltas, made by git."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed: no pack to test with")
    repository = Repository(directory / "repository")
    data = bytearray(random.Random(4).randbytes(size))
    for change in range(5):
        data[change * 20] ^= 1
        repository.commit({"a": bytes(data), f"b{change}": bytes(data[: size // 2])})
    repository.git("gc", "-q", "--aggressive")
    (path,) = (repository.path / ".git/objects/pack").glob("*.pack")
    pack = path.read_bytes()
    shutil.rmtree(repository.path)
    return pack


@pytest.mark.parametrize("mapped", [None, 1000, 10])
def test_large_objects_are_read_like_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: int | None
) -> None:
    data = real_pack(tmp_path, size=100_000)
    expected = read(tmp_path, data)
    assert len(expected) == 20
    if mapped is not None:
        monkeypatch.setattr(git_pack, "MAPPED_BYTES", mapped)
    monkeypatch.setattr(git_pack, "CACHE_BYTES", 1000)
    assert read(tmp_path, data) == expected


PROGRAM = """
import resource, sys
from pathlib import Path
from nexis_eval.fetch.git_pack import Pack
resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))
sizes = []
with Pack(Path(sys.argv[1]), "sha1", Path(sys.argv[2])) as pack:
    pack.read(lambda name, kind, content: sizes.append(getattr(content, "size", 0)))
print(*sizes)
"""


def test_memory_is_bounded_however_large_a_file_is(tmp_path: Path) -> None:
    """A blob of 400 MB, and a change of it, in a process that may have 200 MB."""
    most = 0xFFFFFF
    size = most * 24
    first = entry(BLOB, bytes(size))
    second = entry(OFFSET_DELTA, number(size) + number(size + 1) + copied(most) * 24 + b"\1x", offset(len(first)))
    path = tmp_path / "pack"
    path.write_bytes(pack_of(first, second))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (f"{size} {size + 1}", "")
    assert [each.name for each in tmp_path.iterdir()] == ["pack"]


def test_deltas_whose_bases_come_later(tmp_path: Path) -> None:
    """Many of them, in the worst order: time must not grow with the square of their number."""
    contents = [b"start", *(b"start%d" % each for each in range(3000))]
    names = [hashlib.sha1(b"blob %d\0" % len(each) + each).digest() for each in contents]
    entries = [
        entry(
            REFERENCE_DELTA,
            number(len(before)) + number(len(after)) + copied(5) + bytes((len(after) - 5,)) + after[5:],
            name,
        )
        for before, after, name in zip(contents, contents[1:], names, strict=False)
    ]
    objects = read(tmp_path, pack_of(*reversed(entries), entry(BLOB, contents[0])))
    assert objects.keys() == {each.hex() for each in names}


BASE = bytes(100_000)
OBJECT = entry(BLOB, BASE)
BACK = offset(len(OBJECT))
HOSTILE = {
    "not a pack": b"<html>" * 10,
    "empty": b"",
    "checksum": pack_of(OBJECT)[:-1] + b"x",
    "inflates to more than it says": pack_of(entry(BLOB, BASE, size=10)),
    "inflates to less than it says": pack_of(entry(BLOB, BASE, size=200_000)),
    "says that it is huge": pack_of(entry(BLOB, BASE, size=1 << 40)),
    "endless size": pack_of(b"\xbf" + b"\xff" * 200),
    "more objects than there are": pack_of(OBJECT, count=1 << 31),
    "fewer": pack_of(OBJECT, OBJECT, count=1),
    "unknown kind": pack_of(header(5, 0)),
    "a delta that makes far more than it says": pack_of(
        OBJECT, entry(OFFSET_DELTA, number(100_000) + number(100) + copied(100_000) * 50_000, BACK)
    ),
    "a delta that makes a huge object": pack_of(
        OBJECT, entry(OFFSET_DELTA, number(100_000) + number(5_000_000_000) + copied(100_000) * 50_000, BACK)
    ),
    "a delta with an endless size": pack_of(OBJECT, entry(OFFSET_DELTA, b"\xff" * 1000, BACK)),
    "a delta of nothing": pack_of(OBJECT, entry(OFFSET_DELTA, b"", BACK)),
    "a delta from before the pack": pack_of(OBJECT, entry(OFFSET_DELTA, b"", offset(1 << 40))),
    "a delta of an unknown object": pack_of(entry(REFERENCE_DELTA, b"", b"x" * 20)),
    "not inflated": pack_of(header(BLOB, 100) + b"x" * 100),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("mapped", [16 << 20, 10])
def test_hostile_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, mapped: int) -> None:
    monkeypatch.setattr(git_pack, "MAPPED_BYTES", mapped)
    with pytest.raises(PackError):
        read(tmp_path, HOSTILE[case])
    assert [each.name for each in tmp_path.iterdir()] == ["pack"]


def test_what_a_pack_inflates_to_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_pack, "MAX_INFLATED_BYTES", 1_000_000)
    with pytest.raises(PackError, match="the pack holds more than 1,000,000 bytes"):
        read(tmp_path, pack_of(*[OBJECT] * 11))
    delta = entry(OFFSET_DELTA, number(100_000) + number(1_000_000) + copied(100_000) * 10, BACK)
    with pytest.raises(PackError, match="the pack holds more than 1,000,000 bytes"):
        read(tmp_path, pack_of(OBJECT, delta))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return real_pack(tmp_path_factory.mktemp("sample"), size=400)


CHANGES = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, large=st.booleans())
def test_a_damaged_pack_is_refused_or_read(
    sample: bytes, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], large: bool
) -> None:
    body = bytearray(sample[:-20])
    for position, value in changes:
        body[12 + position % (len(body) - 12)] = value
    directory = tmp_path_factory.mktemp("damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(git_pack, "MAPPED_BYTES", 10 if large else 1 << 20)
        try:
            read(directory, bytes(body) + hashlib.sha1(body).digest())
        except PackError:
            assert [each.name for each in directory.iterdir()] == ["pack"]
    shutil.rmtree(directory)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_delta_is_applied_or_refused(base: bytes, delta: bytes) -> None:
    with contextlib.suppress(PackError):
        apply_delta(base, number(len(base)) + delta)
