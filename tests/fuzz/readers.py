"""The readers of everything that comes from outside or from a disk, each with bytes that it accepts.

A reader may return, or raise what its row says; anything else is a fault: another exception, a signal, more than
``MAX_CPU_SECONDS``, more memory than ``MAX_MEMORY_BYTES``.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from nexis_store.errors import NexisError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reader:
    """One row. ``read`` gets the bytes and an empty directory; ``seeds`` makes bytes that it accepts."""

    name: str
    seeds: Callable[[Path], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    errors: tuple[type[BaseException], ...] = ()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _run(*command: object, cwd: Path) -> bytes:
    return subprocess.run([str(word) for word in command], cwd=cwd, check=True, capture_output=True).stdout


def _tree(directory: Path) -> Path:
    tree = directory / "tree"
    (tree / "deep/er").mkdir(parents=True, exist_ok=True)
    (tree / "a").write_bytes(b"alpha\n" * 40)
    (tree / "deep/er/b").write_bytes(bytes(range(256)) * 3)
    (tree / "deep/empty").write_bytes(b"")
    for name, target in (("link", "deep/er/b"), ("deep/up", "../a")):
        (tree / name).unlink(missing_ok=True)
        (tree / name).symlink_to(target)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    return tree


# Configurations


def _toml_seeds(_: Path) -> list[bytes]:
    texts = [(ROOT / "examples/minimal/system.toml").read_bytes()]
    texts += [path.read_bytes() for path in sorted((ROOT / "examples").rglob("*.toml"))[:12]]
    texts.append(
        b"a = 1\nb = [1, 2.5, \"x\", {c = true}]\n[t.\"quoted key\"]\nd = 1979-05-27T07:32:00Z\ne = '''\nlines'''\n"
    )
    return texts


def _toml(data: bytes, _: Path) -> None:
    from nexis_eval.config.toml import decode, parse

    parse(decode(data, "x.toml"), "x.toml")


def _positions(data: bytes, _: Path) -> None:
    import tomli

    from nexis_eval.config.positions import find

    text = _text(data)
    try:
        tomli.loads(text)
    except (tomli.TOMLDecodeError, ValueError, RecursionError):
        return
    find(text)


def _plain(data: bytes, _: Path) -> None:
    import tomli

    from nexis_eval.config.plain import read

    text = _text(data)
    values = read(text)
    if values is not None:
        assert values == tomli.loads(text)


def _configuration_seeds(_: Path) -> list[bytes]:
    seeds = [
        (ROOT / "examples/minimal/system.toml").read_bytes(),
        b'[[packages]]\nname = "a"\nversion = "1"\nsource = "https://example.org/{name}-{version}.tar.gz"\n'
        b'hash = "sha256:1111111111111111111111111111111111111111111111111111111111111111"\n'
        b'[packages.options]\nset = { A = "1" }\n[packages.phases]\nbuild = "make {{ jobs }}"\n',
        b'[dinit_services.a]\ntype = "process"\ncommand = "/usr/bin/a -x $HOME"\nenv = { A = "b" }\n'
        b'[config_files.motd]\npath = "/etc/motd"\nsource = "motd.j2"\nmode = "0644"\nvariables = { who = "x" }\n',
    ]
    for case in sorted((ROOT / "tests/golden/errors").glob("*.txt"))[::5]:
        _, _, body = case.read_bytes().partition(b"-- system.toml --\n")
        seeds.append(body.partition(b"\n-- ")[0] + b"\n")
    return seeds


def _configuration(data: bytes, directory: Path) -> None:
    from nexis_eval.config.load import load

    file = directory / "system.toml"
    file.write_bytes(data)
    (directory / "motd.j2").write_text("hello {{ who }}\n")
    load(file)


def _cil(data: bytes, _: Path) -> None:
    from nexis_eval.config.cil import mistake_in

    mistake_in(_text(data))


def _cil_seeds(_: Path) -> list[bytes]:
    return [
        b"(type a_t)\n(allow a_t b_t (file (read write)))\n; a comment\n",
        b'(block x (typeattribute y) (filecon "/usr(/.*)?" any (u r t ((s0)(s0)))))',
    ]


# Locks and indexes


def _lock_seeds(_: Path) -> list[bytes]:
    return [path.read_bytes()[:30000] for path in sorted((ROOT / "examples").rglob("nexis.lock"))[:8]]


def _lock(data: bytes, _: Path) -> None:
    from nexis_eval.lock.model import format_lock, parse_lock

    text = format_lock(parse_lock(_text(data)))
    assert format_lock(parse_lock(text)) == text


def _toolchain(data: bytes, directory: Path) -> None:
    from nexis_eval.toolchain import load_toolchain

    shutil.copy(ROOT / "rules/toolchain.toml", directory / "toolchain.toml")
    (directory / "toolchain.lock").write_bytes(data)
    load_toolchain(directory)


def _toolchain_seeds(_: Path) -> list[bytes]:
    return [(ROOT / "rules/toolchain.lock").read_bytes()]


_PACKAGES = b"""Package: zlib1g
Version: 1:1.2.13.dfsg-1
Architecture: amd64
Depends: libc6 (>= 2.14), a | b [amd64] <!nocheck>
Provides: libz1 (= 1)
Filename: pool/main/z/zlib/zlib1g_1.2.13_amd64.deb
Size: 86512
SHA256: d7dd1d1411fedf27f5e27650a6eff20ef294077b568f4c8c5e51466dc7c08ce4

Package: libc6
Version: 2.36-9
Architecture: amd64
Filename: pool/main/g/glibc/libc6_2.36-9_amd64.deb
Size: 1
SHA256: d7dd1d1411fedf27f5e27650a6eff20ef294077b568f4c8c5e51466dc7c08ce4
"""
_RELEASE = b"""Origin: Debian
Suite: stable
Codename: bookworm
Date: Sat, 09 Nov 2024 09:53:21 UTC
Valid-Until: Sat, 16 Nov 2024 09:53:21 UTC
SHA256:
 d7dd1d1411fedf27f5e27650a6eff20ef294077b568f4c8c5e51466dc7c08ce4 738242 main/binary-amd64/Packages
 d7dd1d1411fedf27f5e27650a6eff20ef294077b568f4c8c5e51466dc7c08ce4     1 main/binary-all/Packages.xz
"""


def _debian_index(data: bytes, _: Path) -> None:
    from nexis_eval.lock.debian import compare_versions, parse_index

    packages = list(parse_index(_text(data)))
    for one, other in itertools.pairwise(packages):
        assert compare_versions(one.version, other.version) * compare_versions(other.version, one.version) <= 0


def _debian_release(data: bytes, _: Path) -> None:
    from nexis_eval.lock.debian import parse_release

    parse_release(_text(data))


# The store


def _manifest_seeds(directory: Path) -> list[bytes]:
    from nexis_store.digest import FileDigest
    from nexis_store.tree import Attributes, Manifest, directory_entry, file_entry, symlink_entry

    digest = hashlib.sha256(b"x").digest()
    entries = [
        directory_entry("usr", Attributes(mode=0o700, owner="a", group="b")),
        file_entry("usr/a", FileDigest(digest), 10, executable=True, attributes=Attributes(xattrs=(("user.a", b"b"),))),
        file_entry("usr/b", FileDigest(digest), 0),
        symlink_entry("usr/c", "../a"),
    ]
    return [Manifest.of(entries).encode(), Manifest.of(entries[:1]).encode()]


def _manifest(data: bytes, _: Path) -> None:
    from nexis_store.tree import Manifest, skim

    manifest = Manifest.decode(data)
    assert Manifest.decode(manifest.encode()).encode() == manifest.encode()
    skim(data)


def _journal_seeds(_: Path) -> list[bytes]:
    from nexis_store.journal import encode_changes, encode_record

    first = encode_record(0, 0, encode_changes({b"a": b"1", b"b": None}))
    return [first + encode_record(0, len(first), encode_changes({b"c" * 40: b"2" * 300})), first]


def _journal(data: bytes, directory: Path) -> None:
    from nexis_store import history
    from nexis_store.journal import decode_changes, decode_records

    for _, payload in decode_records(0, 0, data):
        decode_changes(payload)
    (directory / "history.log").write_bytes(data)
    history.read(str(directory / "history.log"))


def _changes(data: bytes, _: Path) -> None:
    from nexis_store.journal import decode_changes

    decode_changes(data)


def _changes_seeds(_: Path) -> list[bytes]:
    from nexis_store.journal import encode_changes

    return [encode_changes({b"a": b"1", b"b": None, b"c" * 40: b"2" * 300})]


def _realisation_seeds(_: Path) -> list[bytes]:
    from nexis_store.digest import BuildKey, DerivationId, TreeDigest
    from nexis_store.realisation import Realisation
    from nexis_store.records import encode_realisation

    raw = bytes(range(32))
    return [
        encode_realisation(
            Realisation(
                key=BuildKey(raw),
                derivation=DerivationId(raw),
                name="zlib-1.3",
                outputs={"out": TreeDigest(raw), "dev": TreeDigest(raw[::-1])},
                origin="built",
                note="why",
                started_ns=1,
                duration_ns=2,
                max_rss_bytes=3,
                extra={"platform": "x86_64"},
            )
        )
    ]


def _realisation(data: bytes, _: Path) -> None:
    from nexis_store.digest import BuildKey
    from nexis_store.records import decode_realisation

    decode_realisation(BuildKey(bytes(32)), data)


def _sidecar(data: bytes, _: Path) -> None:
    from nexis_store.digest import TreeDigest
    from nexis_store.sidecar import decode_sidecar
    from nexis_store.tree import Manifest

    # The digest of what was changed, so that the damage is met and not only the wrong digest.
    body = data.split(b"\n", 2)[-1]
    try:
        digest = Manifest.decode(body).digest
    except NexisError:
        digest = TreeDigest(bytes(32))
    decode_sidecar(data, digest)


def _sidecar_seeds(directory: Path) -> list[bytes]:
    from nexis_store.digest import TreeDigest
    from nexis_store.sidecar import encode_sidecar
    from nexis_store.tree import Manifest

    manifest = Manifest.decode(_manifest_seeds(directory)[0])
    return [encode_sidecar("zlib", [TreeDigest(bytes(32))], manifest, 12)]


def _export_seeds(directory: Path) -> list[bytes]:
    from nexis_store.store import Store
    from nexis_store.transfer import export

    tree = _tree(directory)
    with Store.open(directory / "from") as store:
        artifact = store.add_directory(tree, "tree")
        out = io.BytesIO()
        export(store, [artifact.digest], out)
    head = out.getvalue()
    return [head]


def _import(data: bytes, directory: Path) -> None:
    """Import an archive whose compressed part is what was changed, so that the checksums of zstd do not hide it."""
    from nexis_store.store import Store
    from nexis_store.transfer import MAGIC, load

    if not data.startswith(MAGIC):
        data = MAGIC + data
    body = zstandard.ZstdCompressor(level=1).compress(data[len(MAGIC) :])
    with Store.open(directory / "store") as store:
        load(store, io.BytesIO(data[: len(MAGIC)] + body))  # type: ignore[arg-type]


def _import_seeds(directory: Path) -> list[bytes]:
    from nexis_store.transfer import MAGIC

    return [
        MAGIC + zstandard.ZstdDecompressor().decompressobj().decompress(seed[len(MAGIC) :])
        for seed in _export_seeds(directory)
    ]


# Archives


def _tar_seeds(directory: Path) -> list[bytes]:
    tree = _tree(directory)
    seeds = []
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            archive.add(tree, "p")
            member = tarfile.TarInfo("p/" + "n" * 90 + "/" + "m" * 90)
            if form != tarfile.USTAR_FORMAT:
                member.name = "p/" + "n" * 200
            archive.addfile(member)
            hard = tarfile.TarInfo("p/hard")
            hard.type, hard.linkname = tarfile.LNKTYPE, "p/a"
            archive.addfile(hard)
        seeds.append(out.getvalue())
    if shutil.which("tar"):
        sparse = directory / "sparse"
        with sparse.open("wb") as file:
            file.truncate(300000)
            file.seek(100000)
            file.write(b"data")
        seeds.append(_run("tar", "-cSf", "-", "sparse", cwd=directory))
        seeds.append(_run("tar", "--format=posix", "-cSf", "-", "sparse", cwd=directory))
    return seeds


def _unpack(data: bytes, directory: Path, format: str) -> None:
    from nexis_store.store import Store

    with Store.open(directory / "store") as store:
        store.add_archive(io.BytesIO(data), "x", format=format)  # type: ignore[arg-type]


def _archive_tree(data: bytes, directory: Path) -> None:
    from nexis_eval.fetch.unpacked import archive_tree

    (directory / "archive").write_bytes(data)
    archive_tree(directory / "archive")


def _zip_seeds(directory: Path) -> list[bytes]:
    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.writestr("a/b", b"content" * 30)
            archive.writestr("ä", b"")
            archive.writestr("d/", b"")
        seeds.append(out.getvalue())
    return seeds


def _deb(directory: Path) -> bytes:
    data = _tar_seeds(directory)[0]
    members = [
        (b"debian-binary", b"2.0\n"),
        (b"control.tar.gz", b"1"),
        (b"data.tar.zst", zstandard.ZstdCompressor().compress(data)),
    ]
    out = b"!<arch>\n"
    for name, content in members:
        out += name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"100644".ljust(8)
        out += str(len(content)).encode().ljust(10) + b"`\n" + content + b"\n" * (len(content) % 2)
    return out


def _compressed_tar_seeds(directory: Path) -> list[bytes]:
    import bz2
    import gzip
    import lzma

    tar = _tar_seeds(directory)[0]
    return [
        gzip.compress(tar, mtime=0),
        bz2.compress(tar),
        lzma.compress(tar),
        zstandard.ZstdCompressor().compress(tar),
    ]


# Git


def _pack_seeds(directory: Path) -> list[bytes]:
    if shutil.which("git") is None:
        return []
    work = directory / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    _run("git", "init", "-q", ".", cwd=work)
    lines = [f"line {number}\n" for number in range(400)]
    for turn in range(3):
        (work / "a").write_text("".join(lines[turn:]))
        (work / "b").write_bytes(bytes(range(256)))
        _run("git", "add", ".", cwd=work)
        _run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", cwd=work)
    packs = []
    for options in ((), ("--delta-base-offset",), ("--window=0",)):
        command = ["git", "pack-objects", "--all", "--stdout", "-q", *options]
        packs.append(subprocess.run(command, cwd=work, input=b"", check=True, capture_output=True).stdout)
    return packs


def _pack(data: bytes, directory: Path) -> None:
    """Read a pack with a right checksum, so that the damage is met and not only the checksum."""
    from nexis_eval.fetch.git_pack import Pack

    data = data[:-20] + hashlib.sha1(data[:-20]).digest()
    path = directory / "pack"
    path.write_bytes(data)
    (directory / "large").mkdir()
    with Pack(path, "sha1", directory / "large") as pack:
        pack.read(lambda *_: None)


def _delta(data: bytes, _: Path) -> None:
    from nexis_eval.fetch.git_pack import apply_delta

    apply_delta(b"base" * 100, data)


def _delta_seeds(_: Path) -> list[bytes]:
    return [b"\x90\x03\x07\x91\x04\x04\x03abc", b"\x90\x03\x90\x03\xb0\x90\x01"]


def _modules(data: bytes, _: Path) -> None:
    from nexis_eval.fetch.git import parse_modules, submodule_url

    for url in parse_modules(_text(data)).values():
        submodule_url("https://example.org/a/b.git", url)


def _modules_seeds(_: Path) -> list[bytes]:
    return [b'[submodule "a"]\n\tpath = lib/a\n\turl = ../a.git\n[submodule "b"]\npath=b\nurl=https://example.org/b\n']


def _packets(data: bytes, _: Path) -> None:
    from nexis_eval.fetch.git_protocol import packet_length, parse_capabilities, parse_reference, text_of

    packet_length(data[:4])
    lines = [text_of(line) for line in data[4:].split(b"\n")]
    if lines[0].startswith("version"):
        parse_capabilities(lines)
    else:
        parse_reference(lines[0])


def _packets_seeds(_: Path) -> list[bytes]:
    return [
        b"000eversion 2\nagent=git/2\nls-refs=unborn\nfetch=shallow\nobject-format=sha1\n",
        b"001d" + b"a" * 40 + b" refs/tags/v1 peeled:" + b"b" * 40 + b"\n",
    ]


# Programs and images


def _elf_seeds(_: Path) -> list[bytes]:
    seeds = [Path(sys.executable).resolve().read_bytes()[:4096]]
    for name in ("/bin/true", "/usr/bin/env"):
        if Path(name).exists():
            seeds.append(Path(name).read_bytes())
    return seeds


def _elf(data: bytes, _: Path) -> None:
    from nexis_eval.elf import parse_elf

    parse_elf(data)


def _content(data: bytes, _: Path) -> None:
    from nexis_eval.repro.content.base import FormatError
    from nexis_eval.repro.content.detect import parse

    parsed = parse(data)
    for part in parsed.parts[:50] if parsed else ():
        try:
            part.read()
        except FormatError:
            continue


def _image(command: str, tool: str) -> Callable[[Path], Sequence[bytes]]:
    def seeds(directory: Path) -> Sequence[bytes]:
        if shutil.which(tool) is None:
            return []
        _tree(directory)
        (directory / "image").unlink(missing_ok=True)
        _run("sh", "-c", command, cwd=directory)
        return [(directory / "image").read_bytes()]

    return seeds


_IMAGES = {
    "squashfs": _image("mksquashfs tree image -quiet -no-progress -b 4096 -comp gzip", "mksquashfs"),
    "ext": _image("mke2fs -q -t ext4 -d tree image 512k", "mke2fs"),
    "iso": _image("xorriso -as mkisofs -quiet -R -J -o image tree", "xorriso"),
    "fat": _image("truncate -s 512k image; mkfs.vfat image >/dev/null; mcopy -i image tree/a ::", "mkfs.vfat"),
    "cpio": _image("find tree | sort | cpio -o -H newc --quiet >image", "cpio"),
}


# Records and recipes


def _derivations_seeds(_: Path) -> list[bytes]:
    from nexis_eval.graph.dag import GraphBuilder, layers
    from nexis_eval.graph.derivation import Derivation, Entry, Fetch, Files, Script
    from nexis_eval.graph.json import graph_to_json

    builder = GraphBuilder()
    fetch = Fetch(("https://example.org/a.tar.gz",), "sha256", "1" * 64, "a.tar.gz")
    source = builder.add(Derivation("source", fetch, platform="x86_64"))
    files = builder.add(Derivation("files", Files((Entry("a", text="b"), Entry("c", target="a"))), platform="x86_64"))
    inputs = tuple(layers([source, files]))
    builder.packages["a"] = builder.add(Derivation("a", Script("make\n"), platform="x86_64", inputs=inputs))
    return [json.dumps(graph_to_json(builder.finish())).encode()]


def _derivations(data: bytes, _: Path) -> None:
    from nexis_eval.graph.json import graph_from_json

    graph_from_json(json.loads(data))


def _template(data: bytes, _: Path) -> None:
    from nexis_eval.platforms import platform_named
    from nexis_eval.templates import expand

    expand(_text(data), name="a", version="1.2.3", platform=platform_named("x86_64"))


def _template_seeds(_: Path) -> list[bytes]:
    return [b"https://example.org/{name}-{version}.tar.gz", b"{version_major}/{arch}/{{x}}"]


JSON = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What code that reads JSON of its own making catches, and tells in its own words."""

READERS: tuple[Reader, ...] = (
    Reader("toml", _toml_seeds, _toml),
    Reader("toml-positions", _toml_seeds, _positions),
    Reader("toml-plain", _toml_seeds, _plain),
    Reader("configuration", _configuration_seeds, _configuration),
    Reader("cil", _cil_seeds, _cil),
    Reader("lock", _lock_seeds, _lock),
    Reader("toolchain-lock", _toolchain_seeds, _toolchain),
    Reader("debian-packages", lambda _: [_PACKAGES], _debian_index, (ValueError, KeyError)),
    Reader("debian-release", lambda _: [_RELEASE], _debian_release, (ValueError, KeyError)),
    Reader("url-template", _template_seeds, _template),
    Reader("manifest", _manifest_seeds, _manifest),
    Reader("journal", _journal_seeds, _journal),
    Reader("journal-changes", _changes_seeds, _changes),
    Reader("realisation", _realisation_seeds, _realisation),
    Reader("sidecar", _sidecar_seeds, _sidecar),
    Reader("import", _import_seeds, _import),
    Reader("tar", _tar_seeds, lambda data, at: _unpack(data, at, "tar")),
    Reader("tar-compressed", _compressed_tar_seeds, lambda data, at: _unpack(data, at, "tar")),
    Reader("tar-hash", lambda at: [*_tar_seeds(at), *_compressed_tar_seeds(at)], _archive_tree),
    Reader("zip", _zip_seeds, lambda data, at: _unpack(data, at, "zip")),
    Reader("zip-hash", _zip_seeds, _archive_tree),
    Reader("deb", lambda at: [_deb(at)], lambda data, at: _unpack(data, at, "deb")),
    Reader("git-pack", _pack_seeds, _pack),
    Reader("git-delta", _delta_seeds, _delta),
    Reader("git-modules", _modules_seeds, _modules),
    Reader("git-packets", _packets_seeds, _packets),
    Reader("elf", _elf_seeds, _elf),
    Reader("content-elf", _elf_seeds, _content),
    *(Reader(f"content-{name}", seeds, _content) for name, seeds in _IMAGES.items()),
    Reader("content-archives", lambda at: [*_tar_seeds(at), *_zip_seeds(at), _deb(at)], _content),
    Reader("content-compressed", _compressed_tar_seeds, _content),
    Reader("derivations", _derivations_seeds, _derivations, JSON),
)
BY_NAME = {reader.name: reader for reader in READERS}


def allowed(reader: Reader, error: BaseException) -> bool:
    """Whether ``error`` is an answer, and not a fault."""
    from nexis_eval.fetch.git_pack import PackError
    from nexis_eval.fetch.git_protocol import ProtocolError

    own = (NexisError, PackError, ProtocolError)
    if isinstance(error, NexisError) and error.exit_code == 70:
        return False
    return isinstance(error, (*own, *reader.errors))
