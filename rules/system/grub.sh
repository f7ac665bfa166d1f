# GRUB for the removable medium: a BIOS boot image where the architecture has one, and the UEFI program.
# FORMAT is GRUB's name of the UEFI platform, EFI_NAME the file name that firmware looks for. A prefix without a device is
# on the device that GRUB was loaded from: another that has the same paths is not looked at.
set -euo pipefail
modules=(normal linux configfile search search_fs_file search_fs_uuid iso9660 part_gpt part_msdos fat ext2 echo test
    boot ls cat minicmd loadenv sleep halt reboot regexp)
grub-mkimage -O "$FORMAT" -d "/usr/lib/grub/$FORMAT" -p /nexisos/grub -o "/out/$EFI_NAME" "${modules[@]}"
if [ "$FORMAT" = x86_64-efi ]; then
    grub-mkimage -O i386-pc-eltorito -d /usr/lib/grub/i386-pc -p /nexisos/grub \
        -o /out/eltorito.img "${modules[@]}" biosdisk serial terminal
    cp /usr/lib/grub/i386-pc/boot_hybrid.img /out/boot_hybrid.img
fi
