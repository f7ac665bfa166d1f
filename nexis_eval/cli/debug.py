"""Run the build of a target again and, where it fails, open a shell in its sandbox at that point.

The build sees only its inputs, so it fails as it did before. The shell has its directory, its environment, its shell
variables and functions, and everything that it has made so far. Ctrl-C stops a build that hangs and opens the shell,
too. Nothing is kept when you leave.
"""

from __future__ import annotations

import argparse
import sys

from nexis_eval.cli.enter import FILES_AT, Room, add_enter_arguments, shell_startup, staged
from nexis_eval.cli.stopping import run_stoppable
from nexis_eval.sandbox.interactive import run_interactive
from nexis_eval.sandbox.spec import SandboxSpec

# Read by the script's bash before the script (BASH_ENV). The script's own input is empty, as in a build; descriptor 8
# keeps the person's. Phases go to a file, of which the last line is the one that failed.
HOOK = r"""
unset BASH_ENV
exec 8<&0 </dev/null 3>/tmp/.nexis-phases
nexis_failed() {
    local status=$? command=$BASH_COMMAND
    trap - EXIT INT
    set +eux
    [ "$status" -ne 0 ] || return 0
    export NEXIS_FAILED_STATUS=$status NEXIS_FAILED_COMMAND=$command
    { declare -p; declare -f; } >/tmp/.nexis-state 2>/dev/null
    if [ -t 8 ]; then
        /bin/bash --rcfile FILES/startup -i <&8 3>/dev/null
    else
        BASH_ENV=FILES/startup /bin/bash <&8 3>/dev/null
    fi
    exit "$status"
}
trap nexis_failed EXIT
trap 'exit 130' INT
"""
# Around the script's bash: where that one was killed it could open nothing, so the shell is opened here, without what
# was in its memory. An interrupt is for the script.
AROUND = r"""
trap : INT
BASH_ENV=FILES/hook "$@"
status=$?
trap - INT
if [ "$status" -ne 0 ] && [ ! -e /tmp/.nexis-state ]; then
    export NEXIS_FAILED_STATUS=$status NEXIS_FAILED_COMMAND=
    cd /build/source 2>/dev/null || cd /build
    if [ -t 0 ]; then
        /bin/bash --rcfile FILES/startup -i
    else
        BASH_ENV=FILES/startup /bin/bash
    fi
fi
exit "$status"
"""
GREETING = r"""
source /tmp/.nexis-state 2>/dev/null
unset -f nexis_failed
set +eu
nexis_told() {
    local phases=() why="exit code $NEXIS_FAILED_STATUS" what=failed phase
    mapfile -t phases 2>/dev/null </tmp/.nexis-phases
    phase=${phases[-1]#@nexis phase }
    if [ "$NEXIS_FAILED_STATUS" = 130 ]; then
        what='was interrupted'
    elif [ "$NEXIS_FAILED_STATUS" -gt 128 ] && kill -l "$NEXIS_FAILED_STATUS" >/dev/null 2>&1; then
        why+=": killed by SIG$(kill -l "$NEXIS_FAILED_STATUS")"
    fi
    echo
    echo "LABEL $what${phase:+ in phase '$phase'} ($why)"
    if [ -n "$NEXIS_FAILED_COMMAND" ]; then
        echo "at: $NEXIS_FAILED_COMMAND"
    else
        echo "The shell that ran the build was killed, and with it its variables; its files are here."
    fi
    echo "This is its sandbox, at that point, in $PWD. /in/script is the build; nothing is kept when you leave."
    if [ -n "$phase" ] && declare -F run "phase_$phase" >/dev/null; then
        mapfile -t phases < <(sed -n "1,/^run $phase\$/d; s/^run //p" /in/script)
        echo "'run $phase' does the phase again${phases[*]:+; after it come: ${phases[*]}}"
    else
        echo "'bash /in/script' runs the whole build again."
    fi
}
nexis_told
unset -f nexis_told
"""


EXAMPLES = """\
examples:
  nexis-eval debug zlib
  nexis-eval debug ~/my-system zlib --arch riscv64
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_enter_arguments(parser, "the target that fails to build")


def debug_spec(room: Room) -> SandboxSpec:
    """The sandbox of ``room`` with its build in it, and a shell where that fails."""
    label = room.derivation.label
    files = {
        "hook": HOOK.replace("FILES", FILES_AT),
        "around": AROUND.replace("FILES", FILES_AT),
        "startup": shell_startup(label, GREETING.replace("LABEL", label)),
    }
    return room.with_files(files, ("/bin/bash", f"{FILES_AT}/around", *room.spec.argv))


def run(args: argparse.Namespace) -> int:
    """Run the build; returns 1 if it failed (after the shell), 0 if not."""
    with staged(args, to_run=True) as room:
        label = room.derivation.label
        print(f"building {label} again, up to where it fails", file=sys.stderr)
        ended = run_stoppable(run_interactive(debug_spec(room)))
        if ended.exit_code == 0:
            room.check_outputs()
    if ended.exit_code == 0:
        print(f"{label} was built without a failure ('nexis-eval build' keeps the result)", file=sys.stderr)
        return 0
    if ended.reason:
        print(f"{label}: {ended.reason}", file=sys.stderr)
    return 1
