"""The architectures, and what each part of the world calls them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nexis_store.errors import NexisError
from nexis_store.suggest import nearest


@dataclass(frozen=True, slots=True)
class Platform:
    """A target architecture and its names."""

    arch: str
    debian: str
    triplet: str
    kernel: str
    """``ARCH=`` of the kernel's build system."""
    kernel_image: str
    """Name of the image that ``make`` builds, under ``arch/<kernel>/boot``."""
    go: str
    rust: str
    elf_machine: int
    console: str
    efi_name: str
    """File name of the removable-media boot loader (UEFI specification 2.10, section 3.5.1.1)."""
    output_directory: str
    """Name under ``buildroot_backup_imgs/``."""


X86_64 = Platform(
    arch="x86_64",
    debian="amd64",
    triplet="x86_64-linux-gnu",
    kernel="x86_64",
    kernel_image="bzImage",
    go="amd64",
    rust="x86_64-unknown-linux-gnu",
    elf_machine=62,
    console="ttyS0",
    efi_name="BOOTX64.EFI",
    output_directory="x86",
)
AARCH64 = Platform(
    arch="aarch64",
    debian="arm64",
    triplet="aarch64-linux-gnu",
    kernel="arm64",
    kernel_image="Image",
    go="arm64",
    rust="aarch64-unknown-linux-gnu",
    elf_machine=183,
    console="ttyAMA0",
    efi_name="BOOTAA64.EFI",
    output_directory="aarch64",
)
RISCV64 = Platform(
    arch="riscv64",
    debian="riscv64",
    triplet="riscv64-linux-gnu",
    kernel="riscv",
    kernel_image="Image",
    go="riscv64",
    rust="riscv64gc-unknown-linux-gnu",
    elf_machine=243,
    console="ttyS0",
    efi_name="BOOTRISCV64.EFI",
    output_directory="riscv64",
)

PLATFORMS = {platform.arch: platform for platform in (X86_64, AARCH64, RISCV64)}
DEFAULT_BUILD_ARCH = X86_64.arch
"""What builds run on unless ``[build] platform`` says otherwise."""
ALIASES = {"x86": "x86_64", "amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


class UnknownPlatformError(NexisError):
    """An architecture that the engine does not know."""

    code = "E0002"
    exit_code = 2


def platform_named(name: str) -> Platform:
    """The platform called ``name``, aliases included; raises ``UnknownPlatformError``."""
    platform = PLATFORMS.get(ALIASES.get(name, name))
    if platform is None:
        names = f"use one of: {', '.join(PLATFORMS)}"
        near = "aarch64" if name.startswith("arm") else nearest(name, (*PLATFORMS, *ALIASES)) or ""
        hint = f"did you mean '{ALIASES.get(near, near)}'? {names}" if near else names
        raise UnknownPlatformError(f"unknown architecture '{name}'", hint=hint)
    return platform
