"""The graph of a system: its targets, and what a change reaches."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from nexis_eval.config.model import Config, ConfigFile, LocalPath
from nexis_eval.config.model import System as Settings
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Entry, Files
from nexis_eval.image.assemble import add_system
from nexis_eval.image.qemu import run_script
from nexis_eval.system.context import MissingPackageError, System
from nexis_eval.system.view import SystemView
from nexis_eval.toolchain import Toolchain, load_toolchain
from nexis_store.digest import DerivationId
from tests.eval.system.systems import make_system, packages, text_of

ROOT = Path(__file__).resolve().parents[3]
TARGETS = {"kernel", "initramfs", "rootfs", "squashfs", "ext2", "system", "iso", "images"}


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return load_toolchain(ROOT / "rules")


def _config(tmp_path: Path, greeting: str = "hello", arch: str = "x86_64", names: str = "linux busybox") -> Config:
    template = tmp_path / "motd.tpl"
    template.write_text("{{ greeting }}\n")
    motd = ConfigFile("motd", "/etc/motd", LocalPath("motd.tpl", template), variables={"greeting": greeting})
    file = Path("system.toml")
    return Config(file, (), arch, packages=packages(*names.split()), config_files={"motd": motd})


def _graph(config: Config, toolchain: Toolchain) -> DerivationGraph:
    builder = GraphBuilder()
    built: Mapping[str, DerivationId] = {
        name: builder.add(Derivation(name, Files((Entry(name, text=name),)), platform=config.arch))
        for name in config.packages
    }
    add_system(SystemView.of(config), builder, toolchain, built)
    return builder.finish()


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64"])
def test_targets(tmp_path: Path, toolchain: Toolchain, arch: str) -> None:
    graph = _graph(_config(tmp_path, arch=arch), toolchain)
    assert set(graph.targets.by_name()) >= TARGETS
    assert graph.derivations[graph.targets.system["images"]].platform == arch


def test_a_variable_reaches_its_file_and_the_images(tmp_path: Path, toolchain: Toolchain) -> None:
    before = _graph(_config(tmp_path), toolchain)
    after = _graph(_config(tmp_path, greeting="good day"), toolchain)
    changed = {after.derivations[each].name for each in after.derivations.keys() - before.derivations.keys()}
    assert changed == {"config-file-motd", "rootfs", "squashfs", "ext2", "system", "iso", "images"}


def test_the_host_name_leaves_kernel_initramfs_and_loader_alone(tmp_path: Path, toolchain: Toolchain) -> None:
    config = _config(tmp_path)
    before = _graph(config, toolchain)
    after = _graph(dataclasses.replace(config, system=Settings(hostname="other")), toolchain)
    changed = {after.derivations[each].name for each in after.derivations.keys() - before.derivations.keys()}
    assert not changed & {"kernel", "kernel-modules", "initramfs", "grub", "packages"}
    assert "system-names" in changed


def test_nothing_depends_on_where_it_is_evaluated(tmp_path: Path, toolchain: Toolchain) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = _graph(_config(tmp_path / "a"), toolchain)
    other = _graph(_config(tmp_path / "b"), toolchain)
    assert list(one.derivations) == list(other.derivations)


def test_packages_without_a_kernel_are_no_system(tmp_path: Path, toolchain: Toolchain) -> None:
    graph = _graph(_config(tmp_path, names="zlib vim"), toolchain)
    assert not set(graph.targets.by_name()) & TARGETS


def test_a_system_needs_busybox(tmp_path: Path, toolchain: Toolchain) -> None:
    with pytest.raises(MissingPackageError, match="'busybox'"):
        _graph(_config(tmp_path, names="linux"), toolchain)


def test_dinit_needs_dinit(tmp_path: Path, toolchain: Toolchain) -> None:
    config = dataclasses.replace(_config(tmp_path), system=Settings(init="dinit"))
    with pytest.raises(MissingPackageError, match="'dinit'"):
        _graph(config, toolchain)


def _run_qemu(tmp_path: Path, arch: str, *options: str, qemu: bool = True) -> subprocess.CompletedProcess[str]:
    system = System(make_system(arch, system=Settings(kernel_parameters=("panic=5",))), GraphBuilder())
    made = system.builder[run_script(system)].builder
    assert isinstance(made, Files)
    directory = tmp_path / "where it lies"
    directory.mkdir(exist_ok=True)
    for name in ("bzImage", "initramfs", "rootfs.ext2", f"nexisos-{arch}.iso"):
        (directory / name).touch()
    script = directory / "run-qemu.sh"
    script.write_text(text_of(made.entries, "run-qemu.sh"))
    script.chmod(0o755)
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("dirname", "uname", "grep", "cat"):
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(f"/usr/bin/{name}")
    emulator = programs / f"qemu-system-{arch}"
    emulator.unlink(missing_ok=True)
    if qemu:
        emulator.write_text('#!/bin/sh\nfor each in "$@"; do echo "$each"; done\n')
        emulator.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", str(script), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "PATH": str(programs)},
    )


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64"])
def test_run_qemu_direct(tmp_path: Path, arch: str) -> None:
    done = _run_qemu(tmp_path, arch, "--ssh", "2222", "--", "-smp", "2 cores")
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.splitlines()
    directory = tmp_path / "where it lies"
    assert arguments[arguments.index("-kernel") + 1] == str(directory / "bzImage")
    parameters = arguments[arguments.index("-append") + 1]
    assert parameters.startswith("root=/dev/vda rw console=tty")
    assert "panic=5" in parameters
    assert f"if=virtio,format=raw,snapshot=on,file={directory}/rootfs.ext2" in arguments
    assert "user,id=net,hostfwd=tcp:127.0.0.1:2222-:22" in arguments
    assert arguments[-2:] == ["-smp", "2 cores"]


def test_run_qemu_iso(tmp_path: Path) -> None:
    done = _run_qemu(tmp_path, "x86_64", "--iso")
    arguments = done.stdout.splitlines()
    assert arguments[arguments.index("-cdrom") + 1] == str(tmp_path / "where it lies" / "nexisos-x86_64.iso")


def test_run_qemu_names_what_is_missing(tmp_path: Path) -> None:
    done = _run_qemu(tmp_path, "riscv64", qemu=False)
    assert done.returncode == 1
    assert "apt-get install qemu-system-misc" in done.stderr


def test_run_qemu_explains_itself(tmp_path: Path) -> None:
    assert "usage: run-qemu.sh" in _run_qemu(tmp_path, "aarch64", "--help").stdout
    done = _run_qemu(tmp_path, "aarch64", "--nonsense")
    assert (done.returncode, "usage" in done.stderr) == (2, True)
