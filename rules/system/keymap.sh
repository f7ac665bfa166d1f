# The XKB layout LAYOUT (with a variant after a colon or in parentheses) as a keymap for busybox's loadkmap.
set -euo pipefail
mkdir -p /out/etc
layout=${LAYOUT%%[:(]*}
variant=${LAYOUT#"$layout"}
variant=${variant#[:(]}
variant=${variant%)}
ckbcomp -layout "$layout" ${variant:+-variant "$variant"} >/build/keymap
loadkeys -u --bkeymap /build/keymap >/out/etc/keymap.bin
