"""The readers against archives and images made by the usual tools: every file must come out as it went in."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import platform
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.repro.causes import judge
from nexis_eval.repro.content.detect import READERS, parse
from nexis_eval.repro.content.elf import DEBUG_STRINGS
from nexis_eval.repro.findings import Cause, View
from nexis_eval.repro.opening import open_pair

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
                data = section.data()
                shown = data.replace(b"\0", b"\n") if section.name in DEBUG_STRINGS else data
                assert parts[section.name] == shown
    library = parse((tmp_path / "a.a").read_bytes())
    assert library is not None
    assert {part.name: part.read() for part in library.parts}["a.o"] == (tmp_path / "a.o").read_bytes()


def test_debug_paths_and_build_ids_of_a_real_program(tmp_path: Path) -> None:
    """Compiled in two directories: the paths are the cause, the build id follows."""
    needs("gcc")
    programs = []
    for place in ("first/place", "second/place"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.c").write_text("int main(void) { return 0; }\n")
        run("gcc", "-g", "-Wl,--build-id", "-o", "a", "a.c", cwd=tmp_path / place)
        programs.append((tmp_path / place / "a").read_bytes())
    view = open_pair("a", *programs)
    assert view is not None and view.kind == "elf"
    parts = {part.title: part for part in view.parts}
    assert parts["build id"].before != parts["build id"].after
    assert {each.cause for each in parts["build id"].evidence if each.strength} == set()
    debug = [part for title, part in parts.items() if title.startswith(".debug_")]
    lines = [line for part in debug if part.kind == "text" for line in part.diff]
    assert f"-{tmp_path}/first/place" in lines and f"+{tmp_path}/second/place" in lines
    assert judge(view.all_evidence()).cause is Cause.PATH


def test_members_of_a_static_library_with_their_times_and_owners(tmp_path: Path) -> None:
    needs("gcc", "ar")
    libraries = []
    for number, stamp in enumerate((1_700_000_000, 1_800_000_000)):
        place = tmp_path / str(number)
        place.mkdir()
        for name in ("a", "b"):
            (place / f"{name}.c").write_text(f"int {name}(void) {{ return {number if name == 'b' else 0}; }}\n")
            run("gcc", "-c", f"{name}.c", cwd=place)
            os.utime(place / f"{name}.o", (stamp, stamp))
        run("ar", "rcU", "lib.a", "a.o", "b.o", cwd=place)
        libraries.append((place / "lib.a").read_bytes())
    view = open_pair("lib.a", *libraries)
    assert view is not None and view.kind == "ar"
    parts = {part.title: [each.title for each in part.parts] for part in view.parts}
    assert parts["a.o"] == ["mtime"]
    assert "mtime" in parts["b.o"] and len(parts["b.o"]) > 1
    assert judge(view.all_evidence()).cause is Cause.TIMESTAMP


def efi_program(directory: Path, banner: str) -> bytes:
    """What objcopy makes of a program: a PE image for EFI."""
    (directory / "a.c").write_text(f'const char banner[] = "{banner}"; int _start(void) {{ return banner[1]; }}\n')
    run("gcc", "-nostdlib", "-static", "-no-pie", "-o", "a.elf", "a.c", cwd=directory)
    run("objcopy", "--target=efi-app-x86_64", "-j", ".text", "-j", ".rodata", "a.elf", "a.efi", cwd=directory)
    return (directory / "a.efi").read_bytes()


def test_efi_programs(tmp_path: Path) -> None:
    needs("gcc", "objcopy")
    if platform.machine() != "x86_64":
        pytest.skip("needs an x86_64 compiler")
    before, after = efi_program(tmp_path, "hello"), efi_program(tmp_path, "world")
    parsed = parse(before)
    assert parsed is not None and parsed.format == "pe"
    assert dict(parsed.fields)["machine"] == "0x8664"
    assert {part.name: part.read() for part in parsed.parts}[".rodata"].startswith(b"hello\0")
    view = open_pair("a.efi", before, after)
    assert view is not None
    assert ".rodata" in {part.title for part in view.parts}
    stamp = struct.unpack_from("<I", before, 60)[0] + 8
    view = open_pair("a.efi", before, before[:stamp] + struct.pack("<I", 1_700_000_000) + before[stamp + 4 :])
    assert view is not None
    assert [(part.title, part.after) for part in view.parts] == [("time stamp", "1700000000 (2023-11-14 22:13:20 UTC)")]
    assert judge(view.all_evidence()).cause is Cause.TIMESTAMP


IMAGES = {
    "squashfs": (("mksquashfs",), "mksquashfs tree image -quiet -no-progress -all-time {time} -mkfs-time {time}"),
    "ext4": (("mke2fs",), "mke2fs -q -t ext4 -d tree image 8M"),
    "iso": (("xorriso",), "xorriso -as mkisofs -quiet -R -o image tree"),
    "tar": (("tar",), "tar --mtime=@{time} -cf image tree"),
    "zip": (("zip",), "zip -qr image.zip tree; mv image.zip image"),
    "cpio": (("cpio",), "find tree | sort | cpio -o -H newc --quiet >image"),
    "fat": (("mkfs.vfat", "mcopy"), "truncate -s 4M image; mkfs.vfat image; mcopy -s -i image tree ::"),
    "gzip": (("gzip",), "tar --mtime=@{time} -cf - tree | gzip -n >image"),
    "xz": (("xz",), "tar --mtime=@{time} -cf - tree | xz >image"),
    "zstd": (("zstd",), "tar --mtime=@{time} -cf - tree | zstd -q >image"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_the_one_file_that_differs_is_found_in_every_container(tmp_path: Path, kind: str) -> None:
    """Two trees that differ in one text, each packed by the usual tool: the text's difference is shown, by its path."""
    tools, command = IMAGES[kind]
    needs(*tools)
    images = []
    for text in ("an old text\n", "a new text\n"):
        place = tmp_path / text[:5].strip().replace(" ", "-")
        (place / "tree/sub").mkdir(parents=True)
        (place / "tree/same").write_text("the same\n" * 500)
        (place / "tree/sub/file").write_text(text)
        for path in (place / "tree/sub/file", place / "tree/same", place / "tree/sub", place / "tree"):
            os.utime(path, (1_700_000_000, 1_700_000_000))
        run("sh", "-ec", command.format(time=1_700_000_000), cwd=place)
        images.append((place / "image").read_bytes())
    view = open_pair("image", *images)
    assert view is not None
    texts = dict(texts_of(view, ""))
    (found,) = [path for path, lines in texts.items() if "-an old text" in lines and "+a new text" in lines]
    assert found.lower().endswith("sub/file")
    assert not any("same" in path for path in texts)


def texts_of(view: View, prefix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every text that differs, by the titles that lead to it."""
    if view.kind == "text":
        yield f"{prefix}{view.title}", view.diff
    for part in view.parts:
        yield from texts_of(part, f"{prefix}{view.title} > ")


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


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress])
def test_all_members_of_a_compressed_stream_are_content(compress: Callable[[bytes], bytes]) -> None:
    parsed = parse(compress(b"one") + compress(b"two"))
    assert parsed is not None
    assert parsed.parts[0].read() == b"onetwo"
