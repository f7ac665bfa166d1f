# Kernel modules with all they need, uncompressed, and their indexes.
# REQUIRED must be there (as modules or built in), OPTIONAL are taken where the kernel has them; '*' is all.
set -euo pipefail
shopt -s nullglob
found=(/in/kernel/usr/lib/modules/*)
mkdir -p /out/usr/lib/modules
if [ ${#found[@]} -eq 0 ]; then
    echo "the kernel has no modules: everything has to be built in"
    exit 0
fi
if [ ${#found[@]} -gt 1 ]; then
    echo "error: the kernel package has modules for ${#found[@]} kernels, one is needed" >&2
    exit 1
fi
release=${found[0]##*/}
source=${found[0]}
index=/build/index/lib/modules/$release
tree=/build/tree/lib/modules/$release
mkdir -p "$index" "$tree"
for each in kernel extra updates modules.order modules.builtin modules.builtin.modinfo; do
    [ -e "$source/$each" ] && ln -s "$source/$each" "$index/$each"
done
depmod -b /build/index "$release"

# 'kernel/fs/ext4/ext4.ko.xz: …' and 'alias crc32c crc32c_generic' as one table: name, file and what it needs.
awk '
    function name(file) { sub(/.*\//, "", file); sub(/\.ko.*/, "", file); gsub(/-/, "_", file); return file }
    FILENAME ~ /modules\.dep$/ {
        sub(/:$/, "", $1)
        path[name($1)] = $1
        for (i = 2; i <= NF; i++) needs[name($1)] = name($i) " " needs[name($1)]
    }
    FILENAME ~ /modules\.alias$/ && $1 == "alias" && $2 !~ /[*?\[]/ { gsub(/-/, "_", $2); alias[$2] = alias[$2] " " $3 }
    FILENAME ~ /modules\.builtin$/ { builtin[name($1)] = 1 }
    FILENAME ~ /modules\.softdep$/ && $1 == "softdep" {
        gsub(/-/, "_", $2)
        kind = ""
        for (i = 3; i <= NF; i++) {
            if ($i ~ /:$/) kind = $i
            else if (kind == "pre:") soft[$2] = soft[$2] " " $i
        }
    }
    function take(module, must,    list, count, i) {
        gsub(/-/, "_", module)
        if (module in taken || module in builtin) return 1
        if (!(module in path)) {
            if (!(module in alias)) return 0
            taken[module] = 1
            count = split(alias[module], list, " ")
            for (i = 1; i <= count; i++) take(list[i])
            return 1
        }
        taken[module] = 1
        count = split(soft[module], list, " ")
        for (i = 1; i <= count; i++) take(list[i])
        count = split(needs[module], list, " ")
        for (i = 1; i <= count; i++) take(list[i])
        print path[module]
        return 1
    }
    END {
        if (all) { for (module in path) print path[module]; exit }
        count = split(optional, list, " ")
        for (i = 1; i <= count; i++) if (!take(list[i])) print "this kernel has no module " list[i] >"/dev/stderr"
        count = split(required, list, " ")
        for (i = 1; i <= count; i++) if (!take(list[i])) {
            print "error: this kernel has no module " list[i] ", and it is not built in" >"/dev/stderr"
            failed = 1
        }
        exit failed
    }' all="$([[ " $REQUIRED " == *' * '* ]] && echo 1 || true)" required="$REQUIRED" optional="$OPTIONAL" \
    "$index/modules.dep" "$index/modules.alias" "$source/modules.builtin" "$index/modules.softdep" >/build/wanted

while read -r file; do
    mkdir -p "$tree/${file%/*}"
    case $file in
    *.xz) xz -dc "$source/$file" >"$tree/${file%.xz}" ;;
    *.zst) zstd -dqc "$source/$file" >"$tree/${file%.zst}" ;;
    *.gz) gzip -dc "$source/$file" >"$tree/${file%.gz}" ;;
    *) cp "$source/$file" "$tree/$file" ;;
    esac
done </build/wanted
for each in modules.builtin modules.builtin.modinfo modules.order; do
    [ -e "$source/$each" ] && cp "$source/$each" "$tree/$each"
done
depmod -b /build/tree "$release"
cp -r "$tree" /out/usr/lib/modules/
echo "$(wc -l </build/wanted) modules for $release"
