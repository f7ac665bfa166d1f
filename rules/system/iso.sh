# The ISO: GRUB (/in/grub), and for each generation (/in/generations/NUMBER) kernel, initramfs and root file system.
# It starts from CD and from a disk or stick, by BIOS (x86_64) and by UEFI.
set -euo pipefail
shopt -s nullglob
tree=/build/tree
mkdir -p $tree/nexisos/grub $tree/nexisos/generations

quoted() { # quoted TEXT: as GRUB reads it, one word
    printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}

{
    cat <<'CFG'
set timeout=2
set default=0
if [ "$grub_platform" = pc ]; then
  serial --unit=0 --speed=115200
  terminal_input console serial
  terminal_output console serial
fi
CFG
    for number in $(ls /in/generations | sort -rn); do
        generation=/in/generations/$number
        # Named by what it holds: whatever medium has this path has the same there.
        id=$(cd "$generation" && sha256sum bzImage initramfs root.squashfs | sha256sum | cut -c 1-32)
        here=/nexisos/generations/$id
        if ! [ -d "$tree$here" ]; then
            mkdir "$tree$here"
            cp "$generation"/{bzImage,initramfs,root.squashfs} "$tree$here"
        fi
        printf 'menuentry %s {\n' "$(quoted "$(cat "$generation/title") (generation $number)")"
        printf '  linux %s/bzImage nexis.system=%s/root.squashfs' "$here" "$here"
        read -ra parameters <"$generation/parameters"
        for parameter in "${parameters[@]}"; do printf ' %s' "$(quoted "$parameter")"; done
        printf '\n  initrd %s/initramfs\n}\n' "$here"
    done
} >$tree/nexisos/grub/grub.cfg

# The program that UEFI loads lies on the EFI system partition, from where it finds the rest by the medium's own name.
id=$(sha256sum <$tree/nexisos/grub/grub.cfg | cut -c 1-32)
: >"$tree/nexisos/$id"
mkdir -p /build/esp
cat >/build/esp/grub.cfg <<CFG
search --no-floppy --set=root --file /nexisos/$id
set prefix=(\$root)/nexisos/grub
configfile (\$root)/nexisos/grub/grub.cfg
CFG

# The EFI system partition: FAT, with room for the program and FAT's own tables.
kilobytes=$(($(stat -c %s "/in/grub/$EFI_NAME") / 1024 + 256))
sectors=$(((kilobytes * 2 + 63) / 64 * 64))
truncate -s $((sectors * 512)) $tree/nexisos/grub/efi.img
export MTOOLS_SKIP_CHECK=1
# FAT holds local times.
export TZ=UTC
cp "/in/grub/$EFI_NAME" "/build/$EFI_NAME"
find /build -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
mformat -i $tree/nexisos/grub/efi.img -N 4e455849 -v NEXISEFI -T $sectors -h 16 -s 32 ::
mmd -i $tree/nexisos/grub/efi.img ::/EFI ::/EFI/BOOT ::/nexisos ::/nexisos/grub
mcopy -m -i $tree/nexisos/grub/efi.img "/build/$EFI_NAME" ::/EFI/BOOT/
mcopy -m -i $tree/nexisos/grub/efi.img /build/esp/grub.cfg ::/nexisos/grub/

bios=()
if [ -e /in/grub/eltorito.img ]; then
    cp /in/grub/eltorito.img $tree/nexisos/grub/eltorito.img
    bios=(-b nexisos/grub/eltorito.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info
        --grub2-mbr /in/grub/boot_hybrid.img -eltorito-alt-boot)
fi
chmod -R u+rwX,go+rX,go-w $tree
find $tree -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
xorriso -as mkisofs -quiet -iso-level 3 -R -J -V NEXISOS -uid 0 -gid 0 -o "/out/$ISO_NAME" "${bios[@]}" \
    --efi-boot nexisos/grub/efi.img -efi-boot-part --efi-boot-image $tree
