"""GRUB, generations, and the ISO that boots them: by BIOS and UEFI on x86_64, by UEFI elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nexis_eval.graph.derivation import Derivation, Entry, Input, Union, Use
from nexis_eval.system.context import System
from nexis_eval.system.steps import Tools
from nexis_store.digest import DerivationId

GRUB_FORMATS = {"x86_64": "x86_64-efi", "aarch64": "arm64-efi", "riscv64": "riscv64-efi"}
GRUB_TOOLS = {
    "x86_64": ("image",),
    "aarch64": ("image-aarch64", "image"),
    "riscv64": ("grub-riscv64", "image-riscv64"),
}
"""GRUB's programs and modules must be of one release, and only trixie's knows riscv64."""

EPOCH = "315619200"
"""1980-01-02: FAT has no earlier times, and a time zone must not make it one."""


@dataclass(frozen=True, slots=True)
class BootFiles:
    """What a generation boots."""

    kernel: DerivationId
    initramfs: DerivationId
    squashfs: DerivationId


def kernel_parameters(system: System) -> str:
    """The kernel's command line but for where its root is. The last console is the one that init talks to."""
    serial = f"console={system.platform.console},115200"
    consoles = ("console=tty0", serial) if system.platform.arch == "x86_64" else (serial,)
    return " ".join((*consoles, "quiet", *system.config.system.kernel_parameters))


def generation(tools: Tools, files: BootFiles) -> DerivationId:
    """What is kept of a system to boot it again: kernel, initramfs, root file system, title, kernel parameters."""
    system = tools.system
    settings = system.config.system
    entry = system.files(
        "boot-entry",
        (
            Entry("title", text=f"NexisOS {settings.version} on {settings.hostname}\n"),
            Entry("parameters", text=kernel_parameters(system) + "\n"),
        ),
    )
    trees = (files.kernel, files.initramfs, files.squashfs, entry)
    return system.builder.add(
        Derivation(
            "system",
            Union(),
            platform=system.platform.arch,
            inputs=tuple(Input(each, Use.LAYER, "/") for each in trees),
        )
    )


def grub(tools: Tools) -> DerivationId:
    """The boot loader's files; the same for every system of an architecture."""
    platform = tools.system.platform
    env = {"FORMAT": GRUB_FORMATS[platform.arch], "EFI_NAME": platform.efi_name}
    return tools.step("grub", "grub.sh", (), env=env, tools=GRUB_TOOLS[platform.arch])


def iso_name(system: System) -> str:
    """The file name of the ISO."""
    return f"nexisos-{system.platform.arch}.iso"


def iso(tools: Tools, loader: DerivationId, generations: Sequence[tuple[int, DerivationId]]) -> DerivationId:
    """Output: ``nexisos-<arch>.iso``, with a menu entry for each of the numbered ``generations``, newest first."""
    inputs = [Input(loader, Use.BIND, "/in/grub")]
    inputs += [Input(each, Use.BIND, f"/in/generations/{number}") for number, each in generations]
    env = {
        "EFI_NAME": tools.system.platform.efi_name,
        "ISO_NAME": iso_name(tools.system),
        "SOURCE_DATE_EPOCH": EPOCH,
    }
    return tools.step("iso", "iso.sh", inputs, env=env)
