"""Sources as a build unpacks them: by what they hold, whatever they are called."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
import zstandard

from nexis_eval.config.model import Package
from tests.eval.test_rules import run_script


@pytest.fixture(autouse=True)
def tools() -> None:
    for tool in ("tar", "unzip", "file", "perl", "gzip", "bzip2", "xz", "zstd"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def build(directory: Path, name: str, data: bytes) -> tuple[int, str, dict[str, bytes]]:
    """What a build found in its source directory: exit code, log, files."""
    source = directory / "in" / "source"
    source.mkdir(parents=True)
    (source / name).write_bytes(data)
    package = Package("x", build_system="script", phases={"install": 'mkdir "$OUT"/opt; touch "$OUT"/opt/x'})
    done = run_script(package, directory, source=f"/in/source/{name}")
    top = directory / "build" / "source"
    files = {str(each.relative_to(top)): each.read_bytes() for each in top.rglob("*") if each.is_file()}
    return done.returncode, done.stdout + done.stderr, files


def tar(format: int = tarfile.GNU_FORMAT, **files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"x-1/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zipped(*members: tuple[str, bytes], system: int = 3, prefix: bytes = b"") -> bytes:
    out = io.BytesIO(prefix)
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system, info.external_attr = name, system, 0
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def lzip(data: bytes) -> bytes:
    """The format of lzip(1): a raw LZMA stream between a head and a tail that proves it."""
    import struct
    import zlib

    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2}]
    alone = lzma.compress(data, format=lzma.FORMAT_ALONE, filters=filters)
    packed = b"LZIP\x01" + bytes((20,)) + alone[13:]
    return packed + struct.pack("<IQQ", zlib.crc32(data), len(data), len(packed) + 20)


def v7(data: bytes) -> bytes:
    """The same without the mark of newer formats: what tar wrote before 1988."""
    block = bytearray(data)
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


TAR = tar(hello=b"hello")
LZMA = lzma.compress(TAR, format=lzma.FORMAT_ALONE)
PACKED = {
    "x.tar": TAR,
    "x": v7(TAR),
    "x.crate": gzip.compress(TAR),
    "v1": gzip.compress(TAR),
    "download": gzip.compress(TAR),
    "x.TAR.GZ": gzip.compress(TAR),
    "x.tbz": bz2.compress(TAR),
    "x.tbz2": bz2.compress(TAR),
    "x.txz": lzma.compress(TAR),
    "x.tzst": zstandard.compress(TAR),
    "x.tar.lzma": LZMA,
    "x.tar.lz": lzip(TAR),
    "two members.tgz": gzip.compress(TAR[:700]) + gzip.compress(TAR[700:]),
    "zeros behind.tgz": gzip.compress(TAR) + bytes(1000),
    "x.bin": zipped(("x-1/hello", b"hello")),
    "x.zip": zipped(("x-1\\hello", b"hello"), system=0),
    "twice.zip": zipped(("x-1/hello", b"before"), ("x-1/hello", b"hello")),
    "absolute.zip": zipped(("/x-1/hello", b"hello")),
    "wrong end.tar.xz": gzip.compress(TAR),
    "-v.tgz": gzip.compress(TAR),
}


@pytest.mark.parametrize(("name", "data"), PACKED.items(), ids=PACKED.keys())
def test_an_archive_is_told_by_what_it_holds(tmp_path: Path, name: str, data: bytes) -> None:
    code, log, files = build(tmp_path, name, data)
    assert code == 0, log
    assert files == {"hello": b"hello"}
    assert sorted(each.name for each in (tmp_path / "build").iterdir()) == ["source"]


LONE = {
    "hello": b"hello",
    "x.gz": gzip.compress(b"hello"),
    "x.tar.gz.sig": b"\x89\x02",
    "x.c": b"int x;\n" * 100,
    "zeros": bytes(2000),
    "library.a": b"!<arch>\n" + b"x.o/".ljust(16) + b"0".ljust(32) + b"0".ljust(10) + b"`\n",
}


@pytest.mark.parametrize(("name", "data"), LONE.items(), ids=LONE.keys())
def test_what_is_no_archive_is_left_as_it_is(tmp_path: Path, name: str, data: bytes) -> None:
    code, log, files = build(tmp_path, name, data)
    assert code == 0, log
    assert files == {name: data}


MANY = tar(**{f"f{number}": bytes((number,)) * 700 for number in range(20)})
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"
DAMAGED: dict[str, tuple[str, bytes, str]] = {
    "a page": ("x.tar.gz", PAGE, "x.tar.gz is not an archive that can be unpacked: it is HTML document"),
    "a page for a zip": ("x.zip", PAGE, "x.zip is not an archive"),
    "nothing": ("x.crate", b"", "x.crate is not an archive that can be unpacked: it is empty"),
    "a lone file packed": ("x.tar.gz", gzip.compress(b"hello"), "x.tar.gz is not an archive"),
    "second checksum": ("x.tar", MANY[:1536] + b"X" + MANY[1537:], "tar: "),
    "cut in the tar": ("x.tar", MANY[:5500], "Unexpected EOF"),
    "garbage behind": ("x.tgz", gzip.compress(TAR) + b"garbage", "garbage"),
    "encrypted": ("x.zip", zipped(("x-1/hello", b"hello")).replace(b"\x14\0\0\0\x08", b"\x14\0\x01\0\x08"), "password"),
    "crc": ("x.zip", zipped(("x-1/hello", b"hello")).replace(b"\x86\xa6\x106", b"\x86\xa6\x107"), "bad CRC"),
    "climbing": ("x.zip", zipped(("x-1/../../hello", b"hello")), "climbs out"),
    "cut zip": ("x.zip", zipped(*((f"x-1/{each}", bytes(9)) for each in range(20)))[:900], "nd-of-central-directory"),
}
for packer in (gzip.compress, bz2.compress, lzma.compress, zstandard.compress, lzip):
    packed = packer(MANY)
    for cut in (len(packed) // 10, len(packed) // 2, len(packed) - 5):
        DAMAGED[f"{packer.__module__}{packer.__name__} cut at {cut}"] = ("x.tar.x", packed[:cut], "")


@pytest.mark.parametrize(("name", "data", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_damaged_stops_the_build(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    code, log, _ = build(tmp_path, name, data)
    assert code != 0, log
    assert message in log
    assert "phase unpack failed" in log


def test_the_compressors_that_a_build_has_are_those_of_its_tool_set(tmp_path: Path) -> None:
    """lzip is not among them: xz reads what it writes."""
    data = lzip(MANY)
    (tmp_path / "x").write_bytes(data)
    assert subprocess.run(["xz", "-dc", tmp_path / "x"], check=True, capture_output=True).stdout == MANY
