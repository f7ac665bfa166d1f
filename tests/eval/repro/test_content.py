"""The readers against archives and images made by the usual tools: every file must come out as it went in."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.repro.content.detect import READERS, parse

MAGICS = (
    b"\x7fELF\x02\x01\x01",
    b"!<arch>\n",
    b"\x1f\x8b\x08",
    b"BZh9",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"PK\x03\x04",
    b"070701",
    b"hsqs",
    bytes(257) + b"ustar",
    b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0",
    bytes(32769) + b"CD001",
    bytes(1080) + b"\x53\xef",
    bytes(54) + b"FAT12   " + bytes(448) + b"\x55\xaa",
)


def needs(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None and shutil.which(tool, path="/usr/sbin:/sbin") is None:
            pytest.skip(f"needs {tool}")


def run(*command: object, cwd: Path | None = None) -> None:
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    subprocess.run([str(each) for each in command], check=True, capture_output=True, cwd=cwd, env={"PATH": path})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub/deeper").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "small").write_text("small\n")
    (root / "sub/large").write_bytes(bytes(range(256)) * 1500)
    (root / "sub/sparse").write_bytes(b"head" + bytes(200_000) + b"tail")
    (root / "sub/deeper/a long name with blanks.txt").write_text("text " * 3000)
    (root / "link").symlink_to("sub/large")
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def read_all(image: Path, prefix: str = "") -> dict[str, bytes]:
    parsed = parse(image.read_bytes())
    assert parsed is not None
    files = {}
    for part in parsed.parts:
        name = part.name.removeprefix(prefix)
        target = dict(part.fields).get("link target")
        if target is None and not name.endswith("/") and name:
            files[name] = part.read()
    return files


@pytest.mark.parametrize("compressor", ["gzip", "xz", "zstd"])
def test_squashfs(tmp_path: Path, tree: Path, compressor: str) -> None:
    needs("mksquashfs")
    image = tmp_path / "image"
    run("mksquashfs", tree, image, "-comp", compressor, "-quiet", "-no-progress", "-b", "32768")
    assert read_all(image) == contents(tree)


def test_squashfs_with_many_files(tmp_path: Path) -> None:
    needs("mksquashfs")
    tree = tmp_path / "many"
    tree.mkdir()
    for number in range(700):
        (tree / f"{number:05}-{'x' * 40}").write_text(f"{number}\n" * (number % 40))
    run("mksquashfs", tree, tmp_path / "image", "-quiet", "-no-progress")
    assert read_all(tmp_path / "image") == contents(tree)


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
@pytest.mark.parametrize("block", [1024, 4096])
def test_ext(tmp_path: Path, tree: Path, kind: str, block: int) -> None:
    needs("mke2fs")
    image = tmp_path / "image"
    run("mke2fs", "-q", "-t", kind, "-b", block, "-d", tree, image, "8M")
    assert read_all(image) == contents(tree)


def test_iso(tmp_path: Path, tree: Path) -> None:
    needs("xorriso")
    image = tmp_path / "image.iso"
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o", image, tree)
    files = read_all(image)
    assert files.pop("boot sectors") == image.read_bytes()[:32768]
    assert files == contents(tree)


@pytest.mark.parametrize(("size", "flags"), [("4M", ()), ("20M", ()), ("40M", ("-F", "32"))])
def test_fat(tmp_path: Path, tree: Path, size: str, flags: tuple[str, ...]) -> None:
    needs("mkfs.vfat", "mcopy")
    image = tmp_path / "image"
    run("truncate", "-s", size, image)
    run("mkfs.vfat", *flags, image)
    for name in ("sub", "small", "empty"):
        run("mcopy", "-s", "-i", image, tree / name, "::")
    expected = {name.lower(): data for name, data in contents(tree).items()}
    assert {name.lower(): data for name, data in read_all(image).items()} == expected


def test_tar_and_compressions(tmp_path: Path, tree: Path) -> None:
    plain = tmp_path / "t.tar"
    with tarfile.open(plain, "w") as archive:
        archive.add(tree, arcname="t")
    files = read_all(plain, "t/")
    assert {name: files[name] for name in contents(tree)} == contents(tree)
    data = plain.read_bytes()
    for squeezed in (gzip.compress(data), bz2.compress(data), lzma.compress(data)):
        parsed = parse(squeezed)
        assert parsed is not None
        assert [part.read() for part in parsed.parts] == [data]


def test_zip(tmp_path: Path, tree: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(tree).items():
            archive.writestr(name, data)
    assert read_all(path) == contents(tree)


def test_cpio(tmp_path: Path, tree: Path) -> None:
    needs("cpio")
    listing = "\n".join(sorted(contents(tree)))
    result = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=listing.encode(), capture_output=True, check=True
    )
    parsed = parse(result.stdout)
    assert parsed is not None
    assert {part.name: part.read() for part in parsed.parts} == contents(tree)


def test_elf_and_static_library(tmp_path: Path) -> None:
    needs("gcc", "ar")
    from elftools.elf.elffile import ELFFile

    (tmp_path / "a.c").write_text("int answer(void) { return 42; }\nint main(void) { return answer(); }\n")
    run("gcc", "-g", "-o", "a", "a.c", cwd=tmp_path)
    run("gcc", "-c", "a.c", cwd=tmp_path)
    run("ar", "rcD", "a.a", "a.o", cwd=tmp_path)
    parsed = parse((tmp_path / "a").read_bytes())
    assert parsed is not None
    parts = {part.name: part.read() for part in parsed.parts}
    assert b" answer" in parts[".symtab"]
    with (tmp_path / "a").open("rb") as file:
        peer = ELFFile(file)
        for section in peer.iter_sections():
            if section["sh_type"] not in ("SHT_NULL", "SHT_NOBITS", "SHT_SYMTAB", "SHT_DYNSYM", "SHT_NOTE"):
                assert parts[section.name] == section.data()
    library = parse((tmp_path / "a.a").read_bytes())
    assert library is not None
    assert {part.name: part.read() for part in library.parts}["a.o"] == (tmp_path / "a.o").read_bytes()


@pytest.mark.parametrize("magic", MAGICS)
@given(rest=st.binary(max_size=3000))
def test_damaged_files_are_no_error(magic: bytes, rest: bytes) -> None:
    parsed = parse(magic + rest)
    for part in parsed.parts if parsed else ():
        read_or_refuse(part.read)


def read_or_refuse(read: Callable[[], bytes]) -> None:
    from nexis_eval.repro.content.base import FormatError

    try:
        read()
    except FormatError:
        return


def test_every_magic_has_a_reader() -> None:
    assert len(MAGICS) >= len(READERS)
    for magic in MAGICS:
        assert any(recognise(magic + bytes(2048)) for recognise, _ in READERS), magic
