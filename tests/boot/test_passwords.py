"""Passwords: only the copies of images have them, by every way to start; what was changed in the system stays."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT
from tests.boot.console import Console
from tests.boot.images import writable
from tests.boot.machine import LOGIN_SECONDS, Machine

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]

HASHES = {
    "canary": "$6$saltsalt$zxdHWSoVJ0cSFUmAAJWBfyzOBQJIW8rw7PyL8mZgr91GNOihXyTfPclGxp1hqXIRM77FWQMFwsT1ZDCAfk/250",
    "changed": "$6$saltsalt$xDrMCoCSsBWt0sUUEhib9k4XyuzorE/Cy.p8vW2kPuFL11C2vssxWtqahFC17fGDdU7D93VtnRfRvymd7unSL/",
}
TARGETS = ("initramfs", "rootfs", "squashfs", "ext2", "system", "iso", "images")


def nexis_eval(*words: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from nexis_eval.cli.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def store_images(images: Callable[[str], Path]) -> dict[str, Path]:
    """Where the store has examples/minimal, by target."""
    images("x86_64")
    done = nexis_eval("build", "examples/minimal/system.toml", *TARGETS, "--json")
    return {name: Path(each["out"]["path"]) for name, each in json.loads(done.stdout)["results"].items()}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory, store_images: dict[str, Path]) -> Path:
    """Copies for a configuration of which only root's password is another, and in a file."""
    system, out = tmp_path_factory.mktemp("system") / "system", tmp_path_factory.mktemp("out")
    shutil.copytree(ROOT / "examples/minimal", system)
    file = system / "system.toml"
    file.write_text(
        re.sub(r"^password_hash = .*$", "password_hash_file = 'root'", file.read_text(), count=1, flags=re.MULTILINE)
    )
    (system / "root").write_text(HASHES["canary"] + "\n")
    (system / "root").chmod(0o600)
    done = nexis_eval("build", str(file), "--output", str(out))
    assert "nothing to do" in done.stderr
    return out


def holds(path: Path, text: str) -> bool:
    return subprocess.run(["grep", "-qaF", text, str(path)], check=False).returncode == 0


def test_only_copies_hold_passwords(store_images: dict[str, Path], copies: Path) -> None:
    canary = HASHES["canary"].rpartition("$")[2]
    for directory in store_images.values():
        files = [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
        assert [path for path in files if holds(path, canary)] == []
    assert sorted(path.name for path in copies.iterdir() if holds(path, canary)) == ["initramfs", "nexisos-x86_64.iso"]
    assert {path.stat().st_mode & 0o077 for path in copies.iterdir()} == {0}


@pytest.mark.parametrize("options", [(), ("--iso",), ("--uefi",)], ids=["direct", "bios", "uefi"])
def test_a_copy_starts_with_its_passwords(copies: Path, options: tuple[str, ...]) -> None:
    with Console([str(copies / "run-qemu.sh"), *options]) as console:
        machine = Machine(console)
        machine.log_in("root", "canary")
        assert machine.run("stat -c '%U:%G %a' /etc/shadow") == "root:shadow 640"
        left = "/nexis-secrets /run/nexis/secrets /run/nexis/warnings/passwords /etc/shadow.new"
        assert machine.run(f"ls -d {left} 2>/dev/null", check=False) == ""
        assert machine.run("grep -c . /etc/shadow") == machine.run("grep -c . /etc/passwd")
        machine.log_out()
        machine.log_in("ada", "nexis", booting=False)
        assert "no passwords" not in console.transcript.decode(errors="replace")


def test_an_image_in_the_store_starts_without_passwords(store_images: dict[str, Path]) -> None:
    with Console([str(store_images["images"] / "run-qemu.sh")]) as console:
        console.wait_for(r"run-qemu\.sh: note: these images hold no passwords", 60)
        console.wait_for(r"\*\*\* This image does not hold the passwords of root ada: ", LOGIN_SECONDS)
        for password in ("nexis", "canary", "*in-the-initramfs", ""):
            console.wait_for(r"login: ", 60)
            console.send("root\n")
            console.wait_for(r"assword: ", 60)
            console.send(f"{password}\n")
            console.wait_for(r"incorrect", 60)


def test_a_changed_password_stays(copies: Path, tmp_path: Path) -> None:
    directory = writable(copies, tmp_path)
    for password in ("canary", "changed"):
        with Console([str(directory / "run-qemu.sh"), "--persistent"]) as console:
            machine = Machine(console)
            machine.log_in("root", password)
            machine.run(f"echo 'root:{HASHES['changed']}' | chpasswd -e")
            console.send("poweroff\n")
            assert console.ended(120) == 0
