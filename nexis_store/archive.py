"""A tree as one stream with the owners, modes and xattrs of its manifest: tar for images, newc cpio for initramfs.

Both are deterministic: entries in the manifest's order, one time stamp, inode numbers counted from 1. Nothing is ever
changed on disk to get them, so no privileges are needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from blake3 import blake3

from nexis_store.errors import DamagedStoreError, StoreError, cannot_read
from nexis_store.fs import open_regular, read_whole
from nexis_store.names import encode
from nexis_store.tree import Manifest, ManifestEntry

if TYPE_CHECKING:
    import tarfile

_CHUNK = 1 << 20
_TAR_BLOCK = 10240


def _ids(root: Path, manifest: Manifest, path: str) -> dict[str, int]:
    """Names and numbers of ``etc/passwd`` or ``etc/group`` in the tree itself."""
    found = {"root": 0}
    entry = manifest.get(path)
    if entry is None or entry.kind != "f":
        return found
    for line in read_whole(f"{root}/{path}").decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[2].isdigit():
            found.setdefault(fields[0], int(fields[2]))
    return found


def _resolve(ids: Mapping[str, int], name: str, path: str, what: str) -> int:
    if name in ids:
        return ids[name]
    if name.isascii() and name.isdigit():
        return int(name)
    file = "etc/passwd" if what == "user" else "etc/group"
    raise StoreError(
        f"{path} belongs to the {what} {name!r}, whom {file} of the tree does not list",
        hint=f"declare the {what}, or give {path} another owner",
    )


def _owned(manifest: Manifest, root: Path) -> Iterator[tuple[ManifestEntry, int, int]]:
    users = _ids(root, manifest, "etc/passwd")
    groups = _ids(root, manifest, "etc/group")
    for entry in manifest.entries():
        attributes = entry.attributes
        yield (
            entry,
            _resolve(users, attributes.owner, entry.path, "user"),
            _resolve(groups, attributes.group, entry.path, "group"),
        )


def _copy(source: str, entry: ManifestEntry, out: BinaryIO) -> None:
    """Copy a file, proving it: what stands in an image must be what the digest of its tree says."""
    hasher = blake3()
    try:
        fd = open_regular(source)
    except OSError as error:
        raise cannot_read(error, source) from error
    with open(fd, "rb", buffering=0) as file:
        left = entry.size
        while left and (chunk := file.read(min(left, _CHUNK))):
            hasher.update(chunk)
            out.write(chunk)
            left -= len(chunk)
        if left or file.read(1) or hasher.digest() != entry.digest:
            raise DamagedStoreError(f"{source} is damaged", hint="run 'nexis-store verify --contents --repair'")


def write_tar(manifest: Manifest, root: Path, out: BinaryIO, *, mtime: int = 1) -> None:
    """Write the tree at ``root`` as a pax tar stream; xattrs become ``SCHILY.xattr.*`` headers.

    Owners are looked up in the tree's own ``etc/passwd`` and ``etc/group``; raises ``StoreError`` for one it lacks.
    """
    import tarfile

    written = 0

    def put(data: bytes) -> None:
        nonlocal written
        out.write(data)
        written += len(data)

    for entry, user, group in _owned(manifest, root):
        put(_tar_header(tarfile.TarInfo(entry.path), entry, user, group, mtime))
        if entry.kind == "f":
            _copy(f"{os.fspath(root)}/{entry.path}", entry, out)
            padding = -entry.size % 512
            out.write(b"\0" * padding)
            written += entry.size + padding
    put(b"\0" * 1024)
    out.write(b"\0" * (-written % _TAR_BLOCK))


def write_xattrs(manifest: Manifest, root: Path, out: BinaryIO) -> None:
    """Write the xattrs of the tree, one a line: name, value in hexadecimal (``-`` if empty) and path, by blanks.

    For tools whose way of reading archives drops them. ``root`` is not read. Raises ``StoreError`` for a name that has
    no place in such a line.
    """
    for entry in manifest.entries():
        for name, value in entry.attributes.xattrs:
            if "\n" in entry.path or set(name) & set(" \n"):
                raise StoreError(f"no line can have the xattr {name!r} of {entry.path!r}", hint="rename the file")
            line = f"{name} {value.hex() or '-'} {entry.path}\n"
            out.write(line.encode("utf-8", "surrogateescape"))


def _tar_header(header: tarfile.TarInfo, entry: ManifestEntry, user: int, group: int, mtime: int) -> bytes:
    import tarfile

    header.type = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE}[entry.kind]
    header.mode = entry.mode
    header.uid, header.gid = user, group
    header.uname, header.gname = entry.attributes.owner, entry.attributes.group
    header.mtime = mtime
    header.size = entry.size if entry.kind == "f" else 0
    header.linkname = entry.target or ""
    header.pax_headers = {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape") for name, value in entry.attributes.xattrs
    }
    return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def write_cpio(manifest: Manifest, root: Path, out: BinaryIO, *, mtime: int = 1) -> None:
    """Write the tree at ``root`` as a newc cpio stream, the form the kernel unpacks as initramfs. It has no xattrs."""
    kinds = {"f": 0o100000, "d": 0o040000, "l": 0o120000}
    written = 0
    for number, (entry, user, group) in enumerate(_owned(manifest, root), start=1):
        if entry.size >= 1 << 32:
            raise StoreError(f"{entry.path} is too large for a cpio archive", hint="leave it out of the initramfs")
        target = encode(entry.target or "")
        size = entry.size if entry.kind == "f" else len(target)
        links = 2 if entry.kind == "d" else 1
        head = _cpio_header(entry.path, number, kinds[entry.kind] | entry.mode, user, group, links, mtime, size)
        out.write(head)
        if entry.kind == "f":
            _copy(f"{os.fspath(root)}/{entry.path}", entry, out)
        else:
            out.write(target)
        out.write(b"\0" * (-size % 4))
        written += len(head) + size + -size % 4
    trailer = _cpio_header("TRAILER!!!", 0, 0, 0, 0, 1, 0, 0)
    written += len(trailer)
    out.write(trailer + b"\0" * (-written % 512))


def _cpio_header(path: str, number: int, mode: int, user: int, group: int, links: int, mtime: int, size: int) -> bytes:
    name = encode(path) + b"\0"
    fields = (number, mode, user, group, links, mtime, size, 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4)
