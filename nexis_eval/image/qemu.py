"""``run-qemu.sh``: boots what was built, from wherever it lies, on a machine that has QEMU."""

from __future__ import annotations

from nexis_eval.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

MACHINES = {
    "x86_64": ("qemu-system-x86", "-machine q35", "-machine q35"),
    "aarch64": ("qemu-system-arm", "-machine virt -cpu cortex-a57", "-machine virt -cpu cortex-a57"),
    "riscv64": ("qemu-system-misc", "-machine virt", "-machine virt"),
}
"""Debian package, and machine options without and with firmware."""

FIRMWARE = {
    "x86_64": """\
    code=$(first /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd /usr/share/edk2/x64/OVMF_CODE.4m.fd)
    [ -n "$code" ] || need "UEFI firmware" ovmf
    firmware="-drive if=pflash,format=raw,unit=0,readonly=on,file=$code"
""",
    "aarch64": """\
    code=$(first /usr/share/qemu-efi-aarch64/QEMU_EFI.fd /usr/share/edk2/aarch64/QEMU_EFI.fd)
    [ -n "$code" ] || need "UEFI firmware" qemu-efi-aarch64
    firmware="-bios $code"
""",
    "riscv64": """\
    sbi=$(first /usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf)
    uboot=$(first /usr/lib/u-boot/qemu-riscv64_smode/uboot.elf)
    [ -n "$sbi" ] || need "OpenSBI" opensbi
    [ -n "$uboot" ] || need "U-Boot" u-boot-qemu
    firmware="-bios $sbi -kernel $uboot"
""",
}

SCRIPT = """\
#!/bin/sh
# Boots this system in QEMU, on this terminal. Ctrl-A X leaves it.
set -eu

usage() {
    cat <<'END'
usage: run-qemu.sh [--disk | --iso | --uefi] [--memory MIB] [-- QEMU OPTION...]

  --disk     kernel and initramfs straight from their files, rootfs.ext2 as the disk (default); changes are not kept
  --iso      boot the ISO@BIOS_NOTE@
  --uefi     boot the ISO by UEFI
END
}
need() {
    echo "error: $1 is not installed" >&2
    echo "hint: 'make setup', or on Debian: apt-get install $2" >&2
    exit 5
}
first() { for file in "$@"; do [ -e "$file" ] && { echo "$file"; return; }; done; true; }

here=$(cd "$(dirname "$0")" && pwd)
mode=disk memory=512
while [ $# -gt 0 ]; do
    case "$1" in
    --disk | --iso | --uefi) mode=${1#--} ;;
    --memory) memory=$2; shift ;;
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    *) echo "error: unknown option '$1'" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
command -v qemu-system-@ARCH@ >/dev/null || need qemu-system-@ARCH@ @PACKAGE@

accelerator=tcg
if [ "$(uname -m)" = @ARCH@ ] && grep -qE '^flags.*\\b(vmx|svm)\\b' /proc/cpuinfo && [ -w /dev/kvm ]; then
    accelerator=kvm
fi
network="-nic user,model=virtio-net-pci"
common="-accel $accelerator -m $memory -nographic -no-reboot $network"

case "$mode" in
disk)
    exec qemu-system-@ARCH@ @MACHINE@ $common "$@" \\
        -kernel "$here/bzImage" -initrd "$here/initramfs.cpio.gz" \\
        -append "console=@CONSOLE@ root=/dev/vda rw @PARAMETERS@" \\
        -drive "if=virtio,format=raw,snapshot=on,file=$here/rootfs.ext2"
    ;;
@ISO_CASE@
uefi@UEFI_ALIAS@)
@FIRMWARE@    exec qemu-system-@ARCH@ @MACHINE@ $common $firmware "$@" \\
        -drive "if=virtio,format=raw,readonly=on,file=$here/nexisos-@ARCH@.iso"
    ;;
esac
"""

BIOS_CASE = """\
iso)
    exec qemu-system-@ARCH@ $common "$@" -cdrom "$here/nexisos-@ARCH@.iso"
    ;;"""


def run_script(system: System) -> DerivationId:
    """Output: ``run-qemu.sh``."""
    platform = system.platform
    package, machine, _ = MACHINES[platform.arch]
    bios = platform.arch == "x86_64"
    text = SCRIPT.replace("@ISO_CASE@\n", BIOS_CASE + "\n" if bios else "")
    values = {
        "BIOS_NOTE": " by BIOS" if bios else " (the same as --uefi)",
        "UEFI_ALIAS": "" if bios else " | iso",
        "FIRMWARE": FIRMWARE[platform.arch],
        "MACHINE": machine,
        "PACKAGE": package,
        "CONSOLE": f"{platform.console},115200",
        "PARAMETERS": " ".join(system.config.system.kernel_parameters),
        "ARCH": platform.arch,
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return system.files("run-qemu", (Entry("run-qemu.sh", text=text, mode=0o755),))
