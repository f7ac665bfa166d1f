"""Images that differ from what was built: files of ``rootfs.ext2`` replaced, without a build."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path


def writable(images: Path, directory: Path) -> Path:
    """A copy of the images at ``directory`` whose ``rootfs.ext2`` can be written."""
    copy = directory / "images"
    copy.mkdir(parents=True)
    for each in images.iterdir():
        if each.name == "rootfs.ext2":
            subprocess.run(["cp", "--sparse=always", str(each), str(copy / each.name)], check=True)
            (copy / each.name).chmod(0o644)
        elif each.suffix != ".iso":
            shutil.copy(each, copy / each.name)
    return copy


def debugfs(image: Path, *commands: str) -> str:
    """What ``debugfs`` prints when it does ``commands``; it ends well whatever happens."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", str(image)],
        input="".join(f"{each}\n" for each in commands),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stdout


def edited(images: Path, directory: Path, files: Mapping[str, str | None]) -> Path:
    """A copy of the images in which some files have other texts, or (``None``) do not exist."""
    copy = writable(images, directory)
    for number, (path, text) in enumerate(files.items()):
        debugfs(copy / "rootfs.ext2", f"rm {path}")
        if text is not None:
            (directory / f"file-{number}").write_text(text)
            debugfs(copy / "rootfs.ext2", f"write {directory}/file-{number} {path}")
    return copy
