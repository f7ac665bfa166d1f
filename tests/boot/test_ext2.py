"""The ext4 image has the extended attributes of the tree: ``ext2.sh`` with the tools that it is run with."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from nexis_eval.system.templates import text
from nexis_store.archive import write_tar, write_xattrs
from nexis_store.store import Store
from tests.boot.conftest import ROOT

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
ATTRIBUTES = {
    ("usr/bin/ping", "security.capability"): CAPABILITY,
    ("usr/bin/ping", "security.selinux"): b"system_u:object_r:bin_t",
    ("usr/bin", "user.directory"): b"a\nb\0\\c\xff\xfe%s",
    ('usr/with "quotes", blanks and ü', "user.empty"): b"",
}
NUMBERS = "root:x:0:0::/root:/bin/sh\n", "root:x:0:\n"


@pytest.fixture(scope="module")
def toolset() -> Path:
    """The root file system with the tools of the step."""
    command = [sys.executable, "-m", "nexis_eval.cli.main", "build", str(ROOT / "examples/minimal/system.toml")]
    name = "toolchain:image-riscv64"
    done = subprocess.run([*command, name, "--json"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return Path(json.loads(done.stdout)["results"][name]["out"]["path"])


def tree(directory: Path) -> tuple[bytes, bytes]:
    """A small system as a tar stream, and its attributes as a list."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as made:
        files = {"etc/passwd": NUMBERS[0], "etc/group": NUMBERS[1], 'usr/with "quotes", blanks and ü': "x"}
        for path in ("etc", "usr", "usr/bin", "usr/bin/ping", *files):
            header = tarfile.TarInfo(path)
            header.uname = header.gname = "root"
            header.mode = 0o755
            header.pax_headers = {
                f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
                for (owner, name), value in ATTRIBUTES.items()
                if owner == path
            }
            data = files.get(path, "")
            header.size = len(data.encode())
            header.type = tarfile.REGTYPE if path in files or path.endswith("ping") else tarfile.DIRTYPE
            made.addfile(header, io.BytesIO(data.encode()))
    archive.seek(0)
    with Store.open(directory) as store:
        artifact = store.add_archive(archive, "system", usrmerge=False, keep_attributes=True)
        stream, listed = io.BytesIO(), io.BytesIO()
        write_tar(store.manifest(artifact.digest), artifact.path, stream)
        write_xattrs(store.manifest(artifact.digest), artifact.path, listed)
    return stream.getvalue(), listed.getvalue()


def step(toolset: Path, directory: Path, listed: bytes, stream: bytes) -> subprocess.CompletedProcess[str]:
    """Run ``ext2.sh`` as a build does, without rights; the image is at ``out`` in ``directory``."""
    for name in ("in", "out", "build"):
        (directory / name).mkdir(parents=True)
    (directory / "in/rootfs.tar").write_bytes(stream)
    (directory / "in/rootfs.xattrs").write_bytes(listed)
    (directory / "in/script").write_text(text("ext2.sh"))
    binds = "".join(f'mount --bind "$1/{name}" "$2/{name}"; ' for name in ("in", "out", "build"))
    script = f'set -e; {binds}mount --rbind /dev "$2/dev"; exec chroot "$2" /bin/bash /in/script'
    values = {"SIZE_MB": "0", "UUID": "4e455849-0000-8000-8000-000000000001", "SOURCE_DATE_EPOCH": "1"}
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(directory), str(toolset)],
        env={**values, "PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "E2FSPROGS_FAKE_TIME": "1", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_attributes_are_kept(toolset: Path, tmp_path: Path) -> None:
    stream, listed = tree(tmp_path / "store")
    images = []
    for number in (1, 2):
        done = step(toolset, tmp_path / str(number), listed, stream)
        assert done.returncode == 0, done.stdout + done.stderr
        images.append(tmp_path / str(number) / "out/rootfs.ext2")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    for (file, name), value in ATTRIBUTES.items():
        quoted = file.replace('"', '""')
        into = tmp_path / "value"
        into.unlink(missing_ok=True)
        command = ["debugfs", "-R", f'ea_get -f {into} "/{quoted}" {name}', str(images[0])]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": path})
        assert into.read_bytes() == value, (file, name)
    done = subprocess.run(["e2fsck", "-fn", str(images[0])], capture_output=True, text=True, env={"PATH": path})
    assert done.returncode == 0, done.stdout
    assert images[0].read_bytes() == images[1].read_bytes()


def test_an_attribute_that_cannot_be_written_is_an_error(toolset: Path, tmp_path: Path) -> None:
    stream, _ = tree(tmp_path / "store")
    done = step(toolset, tmp_path / "step", b"user.x 61 no/such/file\n", stream)
    assert done.returncode == 1
    assert "no/such/file: File not found" in done.stdout
    assert "the extended attributes above cannot be written to the image" in done.stderr
