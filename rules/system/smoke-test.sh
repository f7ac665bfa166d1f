# Does a ready-made package run? Natively it and what it needs lie over this root; for another architecture they are at
# /target, and QEMU runs one command of them. What passed is handed on as it is.
set -euo pipefail
{ true >&3; } 2>/dev/null || exec 3>/dev/null
echo "@nexis phase smoke-test" >&3

# The program of a command is looked for in the target, where a script's is its interpreter.
emulate() {
    local program=$1 directory first
    shift
    if [ "${program#*/}" = "$program" ]; then
        for directory in /usr/bin /usr/sbin; do
            [ ! -e "/target$directory/$program" ] || program=$directory/$program
        done
    fi
    first=
    IFS= read -r first <"/target$program" 2>/dev/null || true
    case $first in
        '#!'*)
            read -ra first <<<"${first#??}"
            set -- "${first[@]:1}" "$program" "$@"
            program=$first ;;
    esac
    "qemu-$NEXIS_ARCH-static" -L /target "/target$program" "$@"
}

cd /tmp
status=0
echo "+ $NEXIS_SMOKE_TEST"
if [ -d /target ]; then
    eval "emulate $NEXIS_SMOKE_TEST" </dev/null || status=$?
else
    bash -c "$NEXIS_SMOKE_TEST" </dev/null || status=$?
fi
if [ "$status" != 0 ]; then
    echo "the smoke test of $NEXIS_NAME failed with status $status: $NEXIS_SMOKE_TEST" >&2
    exit 1
fi
cp -a /in/package/. /out/
chmod -R u+w /out
