"""What is rebuilt, and what is not: examples/minimal for x86_64, changed in the ways that people change a system."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-c", "import sys; from nexis_eval.cli.main import main; sys.exit(main())")
STORE_COMMAND = (sys.executable, "-c", "import sys; from nexis_store.cli.main import main; sys.exit(main())")
IMAGE_STEPS = {"rootfs", "squashfs", "ext2", "system", "iso", "images"}


@dataclass(frozen=True)
class Built:
    """One run of ``nexis-eval build``."""

    events: list[dict[str, Any]]
    told: str
    images: Path

    def started(self) -> set[str]:
        return {each["label"] for each in self.events if each["event"] == "StepStarted"}

    def unchanged(self) -> set[str]:
        return {each["label"] for each in self.events if each["event"] == "StepFinished" and each["unchanged"]}

    def iso(self) -> str:
        return hashlib.sha256((self.images / "nexisos-x86_64.iso").read_bytes()).hexdigest()


def command(system: Path, *options: str) -> list[str]:
    return [*COMMAND, "build", str(system), "--json", *options]


def build(system: Path, *options: str, prefix: tuple[str, ...] = ()) -> Built:
    done = subprocess.run(
        [*prefix, *command(system, "--log-format", "json", *options)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = done.stderr.splitlines()
    events = [json.loads(line) for line in lines if line.startswith('{"event"')]
    told = "\n".join(line for line in lines if not line.startswith('{"event"'))
    return Built(events, told, Path(json.loads(done.stdout)["results"]["images"]["out"]["path"]))


@pytest.fixture(scope="module")
def first(images: Callable[[str], Path]) -> str:
    """Build the system of the repository; return the hash of the ISO in the store, which has no passwords."""
    images("x86_64")
    return build(ROOT / "examples/minimal/system.toml").iso()


@pytest.fixture
def system(tmp_path: Path, first: str) -> Iterator[Path]:
    """A copy of the example to change; each test changes it to what no earlier run has left in the store."""
    shutil.copytree(ROOT / "examples/minimal", tmp_path / "minimal")
    yield tmp_path / "minimal" / "system.toml"
    # What the store remembers as this system's last build is again the one of the repository.
    build(ROOT / "examples/minimal/system.toml")


def test_a_second_build_does_nothing_and_says_so(system: Path) -> None:
    done = subprocess.run([*COMMAND, "build", str(system)], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("nothing to do: images for x86_64 as configured (")
    assert len(done.stderr.splitlines()) == 1
    assert Path(done.stdout.strip()).is_dir()


def test_a_comment_in_a_patch_rebuilds_one_package_and_nothing_else(system: Path, first: str) -> None:
    patch = next((system.parent / "patches").glob("*.patch"))
    patch.write_text(f"A comment that changes nothing ({uuid.uuid4()}).\n" + patch.read_text())
    built = build(system)
    assert built.started() == {patch.name, "busybox-1.35.0"}
    assert built.unchanged() == {"busybox-1.35.0"}
    assert built.iso() == first
    assert "its recipe changed" in built.told or patch.name in built.told


def test_a_variable_of_a_config_file_rebuilds_the_file_and_the_images(system: Path, first: str) -> None:
    text = system.read_text()
    assert "Welcome to NexisOS." in text
    system.write_text(text.replace("Welcome to NexisOS.", f"Good morning, {uuid.uuid4()}."))
    built = build(system)
    changed = {each for each in built.started() if each.startswith("config-file")}
    assert len(changed) == 1
    assert built.started() - changed == IMAGE_STEPS
    assert built.iso() != first


def somebody_else(place: str) -> tuple[str, ...]:
    """A prefix that runs a command as another user whose home is ``place``."""
    home = ("env", f"HOME={place}")
    if os.geteuid() == 0:
        prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *home)
        if subprocess.run([*prefix, *COMMAND, "--version"], capture_output=True, check=False).returncode == 0:
            os.chown(place, 65534, 65534)
            return prefix
    # Others cannot reach this Python, or the tests cannot become others: be somebody else by name only.
    return ("unshare", "--user", "--map-user=65534", "--map-group=65534", *home)


def test_two_stores_of_different_users_give_the_same_iso(first: str) -> None:
    """From nothing, in another place, as somebody else: the same bytes."""
    with tempfile.TemporaryDirectory(prefix="nexis-other-user-") as name:
        prefix = somebody_else(name)
        assert subprocess.run([*prefix, "id", "-u"], capture_output=True, text=True, check=True).stdout == "65534\n"
        built = build(ROOT / "examples/minimal/system.toml", "--store", f"{name}/store", prefix=prefix)
        assert "busybox-1.35.0" in built.started()
        assert built.iso() == first


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    """kill -9 of everything at three moments of a build from scratch; then the same command finishes it."""
    store = tmp_path / "store"
    options = ("zlib", "argon2", "--store", str(store))
    system = ROOT / "examples/minimal/system.toml"
    for delay in (2.0, 6.0, 12.0):
        running = subprocess.Popen(
            command(system, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(delay)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    done = subprocess.run(command(system, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    verified = subprocess.run(
        [*STORE_COMMAND, "verify", "--contents", "--store", str(store)], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert list((store / ".build").iterdir()) == []
