# The kernel's image, wherever the package keeps it (/in/kernel), under the one name that images use: bzImage.
set -euo pipefail
shopt -s nullglob
images=(/in/kernel/boot/vmlinuz-* /in/kernel/boot/vmlinux-*)
if [ ${#images[@]} -ne 1 ]; then
    echo "error: the kernel package has ${#images[@]} images (boot/vmlinuz-*, boot/vmlinux-*), one is needed" >&2
    exit 1
fi
cp "${images[0]}" /out/bzImage
