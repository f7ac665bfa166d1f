"""``run-qemu.sh``: boots what was built, from wherever it lies, on a machine that has QEMU."""

from __future__ import annotations

from nexis_eval.graph.derivation import Entry
from nexis_eval.image.iso import iso_name, kernel_parameters
from nexis_eval.system.context import System
from nexis_eval.system.templates import render
from nexis_store.digest import DerivationId

PACKAGES = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm", "riscv64": "qemu-system-misc"}
"""The Debian package of each emulator."""

MEMORY_MB = 512


def run_script(system: System) -> DerivationId:
    """Output: ``run-qemu.sh``."""
    arch = system.platform.arch
    script = render(
        "run-qemu.sh.j2",
        arch=arch,
        iso=iso_name(system),
        memory=MEMORY_MB,
        parameters=kernel_parameters(system),
        qemu=f"qemu-system-{arch}",
        package=PACKAGES[arch],
    )
    return system.files("run-qemu", (Entry("run-qemu.sh", text=script, mode=0o755),))
