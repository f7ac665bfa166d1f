# The root file system as an ext4 image, from a tar stream with owners and modes (/in/rootfs.tar), and a list of xattrs
# (/in/rootfs.xattrs), which mke2fs does not take from the stream.
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

# debugfs ends well whatever happens: every line that it writes beside its own name is an error.
number=0
while read -r name value path; do
    number=$((number + 1))
    [ "$value" = - ] && value=''
    printf "$(sed 's/../\\x&/g' <<<"$value")" >"/build/value-$number"
    printf 'ea_set -f /build/value-%s "/%s" %s\n' "$number" "${path//\"/\"\"}" "$name"
done </in/rootfs.xattrs >/build/attributes
if [ -s /build/attributes ]; then
    debugfs -w -f /build/attributes /out/rootfs.ext2 >/build/said 2>/build/errors
    if grep -v '^debugfs ' /build/errors || grep -v '^debugfs: ea_set ' /build/said; then
        echo "error: the extended attributes above cannot be written to the image" >&2
        exit 1
    fi
fi
