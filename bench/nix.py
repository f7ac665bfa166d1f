"""Nix beside the store, for bench/store.py: the same trees, references and roots in a Nix store below a directory.

Needs ``nix-store`` on the path, no privilege, no daemon and no network: everything lies in the given directory.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"
ROOTS = 11


def version() -> str | None:
    """Of the Nix that is installed; ``None`` without one."""
    if shutil.which("nix-store") is None:
        return None
    done = subprocess.run(["nix-store", "--version"], capture_output=True, text=True)
    return done.stdout.split()[-1] if done.returncode == 0 else None


class Nix:
    """A Nix store of its own below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "nix"
        self.store = self.directory / "store"

    def environment(self) -> Mapping[str, str]:
        """Of its programs."""
        root = str(self.directory)
        return {
            **os.environ,
            "HOME": f"{root}/home",
            "NIX_REMOTE": "local",
            "NIX_STORE_DIR": f"{root}/store",
            "NIX_STATE_DIR": f"{root}/state",
            "NIX_LOG_DIR": f"{root}/log",
            "NIX_CONF_DIR": f"{root}/etc",
            "NIX_CONFIG": "build-users-group =\nsubstitute = false\nsandbox = false",
        }

    def run(self, *arguments: str, stdin: str | None = None) -> dict[str, float]:
        """Run ``nix-store``: seconds from start to end."""
        started = time.perf_counter()
        subprocess.run(
            ["nix-store", *arguments],
            check=True,
            env=self.environment(),
            input=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return {"seconds": time.perf_counter() - started}

    def clear(self) -> None:
        """Begin with an empty store."""
        for directory, _, _ in os.walk(self.directory):
            Path(directory).chmod(stat.S_IRWXU)
        shutil.rmtree(self.directory, ignore_errors=True)
        (self.directory / "home").mkdir(parents=True)
        self.store.mkdir()

    def _register(self, paths: Sequence[Path], references: Mapping[Path, Sequence[Path]]) -> None:
        lines: list[str] = []
        for path in paths:
            wanted = references.get(path, ())
            lines += [str(path), "0" * 64, "10000", "", str(len(wanted)), *map(str, wanted)]
        self.run("--load-db", stdin="\n".join(lines) + "\n")

    def populate(self, count: int, dead: int, files: int, *, leaf_roots: bool = False) -> None:
        """The same as ``populate`` of bench/store.py makes."""
        self.clear()
        dice = random.Random(1)
        live: list[Path] = []
        garbage: list[Path] = []
        references: dict[Path, Sequence[Path]] = {}
        for number in range(count):
            into = garbage if number >= count - dead else live
            path = self.store / f"{''.join(dice.choices(_ALPHABET, k=32))}-package-{number}"
            (path / "share").mkdir(parents=True)
            for index in range(files):
                _write(path / f"share/{index}", b"%d %d " % (number, index) * 90)
            _finish(path / "share", path)
            references[path] = dice.sample(into, min(5, len(into)))
            into.append(path)
        profiles: list[Path] = []
        for index in range(ROOTS if live and not leaf_roots else 0):
            path = self.store / f"{''.join(dice.choices(_ALPHABET, k=32))}-profile-{index}"
            path.mkdir()
            _write(path / "profile", b"%d" % index)
            _finish(path)
            references[path] = live[index::ROOTS]
            profiles.append(path)
        self._register([*live, *garbage, *profiles], references)
        referred = {each for wanted in references.values() for each in wanted}
        roots = self.directory / "state/gcroots"
        for index, path in enumerate(profiles or [each for each in live if each not in referred]):
            (roots / f"root-{index}").symlink_to(path)

    def drop_roots(self) -> None:
        """Make everything garbage."""
        for root in (self.directory / "state/gcroots").glob("root-*"):
            root.unlink()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    _finish(path)


def _finish(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (1, 1))
        path.chmod(0o555 if path.is_dir() else 0o444)
