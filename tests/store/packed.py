"""Archives for tests: odd ones, damaged ones, and what our readers and the tools of each format make of them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import struct
import subprocess
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import zstandard

from nexis_store.members import DEFAULT_LIMITS, BadArchiveError, Format, UnsupportedArchiveError
from nexis_store.unpack import members_of

Files = dict[str, bytes | str | None]
"""Path → content, target of a link, or ``None`` for a directory."""


def lzip(data: bytes) -> bytes:
    """What lzip(1) writes."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2}]
    alone = lzma.compress(data, format=lzma.FORMAT_ALONE, filters=filters)
    packed = b"LZIP\x01" + bytes((20,)) + alone[13:]
    return packed + struct.pack("<IQQ", zlib.crc32(data), len(data), len(packed) + 20)


def lzma_alone(data: bytes) -> bytes:
    """What lzma(1) writes."""
    return lzma.compress(data, format=lzma.FORMAT_ALONE)


def zstd(data: bytes) -> bytes:
    """What zstd(1) writes."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "LZMA": lzma_alone,
    "lzip": lzip,
    "zstd": zstd,
}


def header(name: bytes = b"a", size: bytes = b"0", kind: bytes = b"0", link: bytes = b"", **fields: bytes) -> bytes:
    """A header with whatever bytes in its fields, and the right checksum."""
    places = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "magic": (257, 8), "uname": (265, 32)}
    places |= {"gname": (297, 32), "prefix": (345, 155)}
    block = bytearray(512)
    given = {"mode": b"0000644", "uid": b"0", "gid": b"0", "magic": b"ustar\x0000", **fields}
    for key, value in given.items():
        at, length = places[key]
        block[at : at + length] = value[:length].ljust(length, b"\0")
    block[:100] = name[:100].ljust(100, b"\0")
    block[124:136] = (size if size[:1] >= b"\x80" else size.rjust(11, b"0"))[:12].ljust(12, b"\0")
    block[156:157] = kind
    block[157:257] = link[:100].ljust(100, b"\0")
    return checked(bytes(block))


def checked(block: bytes) -> bytes:
    """The block with a right checksum."""
    changed = bytearray(block)
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def padded(data: bytes) -> bytes:
    """To a whole number of blocks."""
    return data + bytes(-len(data) % 512)


def entry(name: bytes, data: bytes = b"", kind: bytes = b"0", link: bytes = b"", **fields: bytes) -> bytes:
    """A header and its data."""
    return header(name, b"%o" % len(data), kind, link, **fields) + padded(data)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A header that extends the next one."""
    data = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        while len(str(length)) + len(key) + len(value) + 3 != length:
            length = len(str(length)) + len(key) + len(value) + 3
        data += b"%d %s=%s\n" % (length, key, value)
    return entry(b"pax", data, kind)


END = bytes(1024)


def deb(data: bytes, name: bytes = b"data.tar", control: bytes | None = None) -> bytes:
    """A Debian package."""
    if control is None:
        text = b"Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
        control = entry(b"./control", text) + END
    out = b"!<arch>\n"
    for title, content in ((b"debian-binary", b"2.0\n"), (b"control.tar", control), (name, data)):
        out += title.ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"100644  " + str(len(content)).encode().ljust(10)
        out += b"`\n" + content + b"\n" * (len(content) % 2)
    return out


def zipped(*members: tuple[str, bytes], system: int = 3, method: int = zipfile.ZIP_DEFLATED, mode: int = 0) -> bytes:
    """A zip as a program of the system (0 DOS, 3 Unix) writes it."""
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system, info.external_attr = name, system, mode << 16
            archive.writestr(info, data, method)
    return out.getvalue()


def ours(archive: bytes, format: Format = "tar") -> Files | str:
    """What our reader gives, or why it refuses. It must never fail in another way."""
    files: Files = {}
    try:
        with members_of(io.BytesIO(archive), format, DEFAULT_LIMITS) as members:
            for member in members:
                if not member.path:
                    continue
                if member.kind == "directory":
                    files[member.path] = None
                elif member.kind == "symlink":
                    files[member.path] = member.target
                elif member.kind == "hardlink":
                    if member.target not in files:
                        return f"{member.path} is a link to what is not there"
                    files[member.path] = files[member.target]
                elif member.kind == "file":
                    assert member.read is not None
                    content = b""
                    while data := member.read(1 << 16):
                        content += data
                    files[member.path] = content
                else:
                    return "a device"
    except (BadArchiveError, UnsupportedArchiveError) as error:
        return str(error)
    for path in [*files]:
        while "/" in path:
            path = path.rpartition("/")[0]
            files.setdefault(path, None)
    return files


def theirs(data: bytes, *command: str, name: str = "archive") -> Files | str:
    """What a tool unpacks, or what it complains of. ``{archive}`` and ``{out}`` stand for file and directory."""
    top = Path(tempfile.mkdtemp(prefix="archive-"))
    try:
        (top / name).write_bytes(data)
        (top / "out").mkdir()
        words = [each.format(archive=top / name, out=top / "out") for each in command]
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        try:
            done = subprocess.run(
                words, capture_output=True, env=env, stdin=subprocess.DEVNULL, cwd=top, check=False, timeout=60
            )
        except subprocess.TimeoutExpired:
            # unzip 6.0 turns for ever in some damaged archives.
            return "it does not end"
        if done.returncode > (1 if command[0] == "unzip" else 0):
            return (done.stdout + done.stderr).decode(errors="replace")
        return files_of(top / "out")
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", top], check=False, capture_output=True)
        shutil.rmtree(top, ignore_errors=True)


def files_of(top: Path) -> Files:
    """A directory as our readers would tell it."""
    files: Files = {}
    for directory, names, others in os.walk(os.fsencode(top)):
        for raw in (*names, *others):
            place = os.path.join(directory, raw)
            path = os.path.relpath(place, os.fsencode(top)).decode("utf-8", "surrogateescape")
            if os.path.islink(place):
                files[path] = os.readlink(place).decode("utf-8", "surrogateescape")
            elif os.path.isdir(place):
                files[path] = None
            elif os.path.isfile(place):
                with open(place, "rb") as file:
                    files[path] = file.read()
            else:
                files[path] = "a device"
    return files


TAR = ("tar", "--no-same-owner", "--no-same-permissions", "-C", "{out}", "-xf", "{archive}")
UNZIP = ("unzip", "-o", "{archive}", "-d", "{out}")
DPKG = ("dpkg-deb", "--fsys-tarfile", "{archive}")
