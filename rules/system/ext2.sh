# The root file system as an ext4 image, from a tar stream that has owners, modes and labels (/in/rootfs.tar).
# SIZE_MB is its size in MiB, 0 for what the content needs and a quarter more; UUID is also the seed of its hashes.
set -euo pipefail
entries=$(tar -tf /in/rootfs.tar | wc -l)
kilobytes=$(tar -tvf /in/rootfs.tar | awk '{ sum += int(($3 + 4095) / 4096) * 4 } END { print sum }')
need=$(((kilobytes + entries) * 5 / 4 / 1024 + 16))
size=$SIZE_MB
[ "$size" -eq 0 ] && size=$need
if [ "$size" -lt $((kilobytes / 1024 + 4)) ]; then
    echo "error: the system needs $need MiB, but root_size_mb is $size" >&2
    exit 1
fi
mke2fs -q -F -t ext4 -b 4096 -I 256 -m 1 -L nexisos -U "$UUID" -E "hash_seed=$UUID,root_owner=0:0" \
    -O '^metadata_csum_seed,^orphan_file' -d /in/rootfs.tar /out/rootfs.ext2 "${size}M"
