"""The kernel of a system: its image, the modules that find the root file system, and those of the running system."""

from __future__ import annotations

from nexis_eval.graph.derivation import Input, Use
from nexis_eval.system.contribution import Contribution
from nexis_eval.system.steps import Tools
from nexis_store.digest import DerivationId

MEDIUM_MODULES = "isofs loop squashfs overlay"
"""Without these no boot medium works."""

EARLY_MODULES = (
    "virtio_pci virtio_mmio virtio_blk virtio_scsi ata_piix ata_generic ahci sd_mod sr_mod nvme usb_storage uas "
    "xhci_pci ehci_pci usbhid hid_generic ext4 vfat nls_cp437 nls_ascii crc32c_generic"
)
"""What may be needed before the root file system is there. A kernel that lacks one is fine."""

SYSTEM_MODULES = (
    "virtio_net virtio_rng virtio_console virtio_balloon virtio_gpu e1000 e1000e igb r8169 tg3 af_packet ipv6 tun "
    "bridge dummy fuse efivarfs dm_mod"
)
"""What most systems want when they run, beside the former."""


def kernel(tools: Tools, package: DerivationId) -> DerivationId:
    """Output: ``bzImage``, whatever the architecture calls it."""
    return tools.step("kernel", "kernel.sh", (Input(package, Use.BIND, "/in/kernel"),))


def _modules(tools: Tools, name: str, source: DerivationId, required: str, optional: str) -> DerivationId:
    env = {"REQUIRED": required, "OPTIONAL": optional}
    return tools.step(name, "modules.sh", (Input(source, Use.BIND, "/in/kernel"),), env=env)


def system_modules(tools: Tools, package: DerivationId, everything: Contribution) -> DerivationId:
    """The modules of the root file system: the usual ones, and those that the parts of the system ask for."""
    optional = (MEDIUM_MODULES, EARLY_MODULES, SYSTEM_MODULES, *everything.early_modules, *everything.optional_modules)
    return _modules(tools, "kernel-modules", package, " ".join(everything.required_modules), " ".join(optional))


def early_modules(tools: Tools, modules: DerivationId, everything: Contribution) -> DerivationId:
    """The modules of the initramfs, out of those of the root file system, which are far fewer than the package's."""
    early = " ".join((EARLY_MODULES, *everything.early_modules))
    return _modules(tools, "initramfs-modules", modules, MEDIUM_MODULES, early)
