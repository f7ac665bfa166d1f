"""The ISO: GRUB for BIOS and UEFI, one menu entry a generation, without grub-mkrescue, which is not reproducible.

Every file time is set, the FAT file system has a fixed serial number, and SOURCE_DATE_EPOCH is 1980 at the earliest:
FAT knows no time before that.
"""

from __future__ import annotations

from nexis_eval.derivation import Input, Use
from nexis_eval.image.initramfs import MARKER
from nexis_eval.image.tools import ImageTools
from nexis_store.digest import DerivationId

GRUB_FORMATS = {"x86_64": "x86_64-efi", "aarch64": "arm64-efi", "riscv64": "riscv64-efi"}

COMMON = (
    "normal linux configfile search search_fs_file iso9660 fat ext2 part_gpt part_msdos echo test boot ls cat minicmd"
)

SCRIPT = f"""
export SOURCE_DATE_EPOCH=315532800 TZ=UTC
tree=/build/tree
mkdir -p "$tree/boot/grub" "$tree/nexis/1" /build/esp
cp /in/kernel/bzImage "$tree/nexis/1/kernel"
cp /in/initramfs/initramfs.cpio.gz "$tree/nexis/1/initramfs"
cp /in/squashfs/rootfs.squashfs "$tree/nexis/1/rootfs.squashfs"
echo @VERSION@ >"$tree/{MARKER}"
cat >"$tree/boot/grub/grub.cfg" <<'END'
if [ "$grub_platform" = pc ]; then
    serial --unit=0 --speed=115200
    terminal_input serial console
    terminal_output serial console
fi
set timeout=2
set default=0
menuentry "NexisOS @VERSION@ (@HOSTNAME@), generation 1" {{
    linux /nexis/1/kernel console=tty0 console=@CONSOLE@ nexis.image=/nexis/1/rootfs.squashfs @PARAMETERS@
    initrd /nexis/1/initramfs
}}
END
cat >/build/early.cfg <<'END'
search --no-floppy --set=root --file /{MARKER}
set prefix=($root)/boot/grub
END

grub-mkimage -O @FORMAT@ -d /usr/lib/grub/@FORMAT@ -p /boot/grub -c /build/early.cfg -o /build/boot.efi {COMMON}
kib=$(( ($(stat -c %s /build/boot.efi) + 1023) / 1024 + 512 ))
sectors=$(( (kib * 2 + 2047) / 2048 * 2048 ))
truncate -s $(( sectors * 512 )) "$tree/boot/grub/efi.img"
touch -d @$SOURCE_DATE_EPOCH /build/boot.efi
mformat -i "$tree/boot/grub/efi.img" -N 5b1ce001 -v EFIBOOT -T "$sectors" -h 16 -s 32 ::
mmd -i "$tree/boot/grub/efi.img" ::/EFI ::/EFI/BOOT
mcopy -m -i "$tree/boot/grub/efi.img" /build/boot.efi ::/EFI/BOOT/@EFI_NAME@

bios=()
if [ @FORMAT@ = x86_64-efi ]; then
    grub-mkimage -O i386-pc-eltorito -d /usr/lib/grub/i386-pc -p /boot/grub -c /build/early.cfg \\
        -o "$tree/boot/grub/eltorito.img" {COMMON} biosdisk serial terminal
    bios=(-b boot/grub/eltorito.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info
        --grub2-mbr /usr/lib/grub/i386-pc/boot_hybrid.img -eltorito-alt-boot)
fi
find "$tree" -exec touch -h -d @$SOURCE_DATE_EPOCH {{}} +
xorriso -as mkisofs -quiet -R -J -V NEXISOS -uid 0 -gid 0 -o /out/nexisos-@ARCH@.iso "${{bios[@]}}" \\
    --efi-boot boot/grub/efi.img -efi-boot-part --efi-boot-image "$tree"
"""


def iso(tools: ImageTools, kernel: DerivationId, initramfs: DerivationId, squashfs: DerivationId) -> DerivationId:
    """Output: ``nexisos-<arch>.iso``."""
    platform, settings = tools.system.platform, tools.system.config.system
    values = {
        "VERSION": settings.version,
        "HOSTNAME": settings.hostname,
        "CONSOLE": f"{platform.console},115200",
        "PARAMETERS": " ".join(settings.kernel_parameters),
        "FORMAT": GRUB_FORMATS[platform.arch],
        "EFI_NAME": platform.efi_name,
        "ARCH": platform.arch,
    }
    script = SCRIPT
    for name, value in values.items():
        script = script.replace(f"@{name}@", value)
    inputs = (
        Input(kernel, Use.BIND, "/in/kernel"),
        Input(initramfs, Use.BIND, "/in/initramfs"),
        Input(squashfs, Use.BIND, "/in/squashfs"),
    )
    return tools.step("iso", script, inputs)
