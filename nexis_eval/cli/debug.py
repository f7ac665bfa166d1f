"""Run the build of a target again and, where it fails, open a shell in its sandbox at that point.

The build sees only its inputs, so it fails as it did before. The shell has its directory, its environment, its shell
variables and functions, and everything that it has made so far. Nothing is kept when you leave.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from nexis_eval.cli.enter import FILES_AT, add_enter_arguments, shell_startup, staged
from nexis_eval.sandbox.interactive import run_interactive

# Read by the script's bash before the script (BASH_ENV). The script's own input is empty, as in a build; descriptor 8
# keeps the person's. Phases go to a file, of which the last line is the one that failed.
HOOK = r"""
unset BASH_ENV
exec 8<&0 </dev/null 3>/tmp/.nexis-phases
nexis_failed() {
    local status=$? command=$BASH_COMMAND
    trap - EXIT
    set +eux
    [ "$status" -ne 0 ] || return 0
    local lines=()
    mapfile -t lines </tmp/.nexis-phases
    export NEXIS_FAILED_STATUS=$status NEXIS_FAILED_COMMAND=$command
    export NEXIS_FAILED_PHASE=
    [ "${#lines[@]}" -eq 0 ] || NEXIS_FAILED_PHASE=${lines[-1]#@nexis phase }
    { declare -p; declare -f; } >/tmp/.nexis-state 2>/dev/null
    if [ -t 8 ]; then
        /bin/bash --rcfile FILES/startup -i <&8 3>/dev/null
    else
        BASH_ENV=FILES/startup /bin/bash <&8 3>/dev/null
    fi
    exit "$status"
}
trap nexis_failed EXIT
"""
GREETING = r"""
source /tmp/.nexis-state 2>/dev/null
unset -f nexis_failed
set +eu
echo
echo "LABEL failed${NEXIS_FAILED_PHASE:+ in phase '$NEXIS_FAILED_PHASE'} (exit code $NEXIS_FAILED_STATUS)"
echo "at: $NEXIS_FAILED_COMMAND"
echo "This is its sandbox, at that point, in $PWD. /in/script is the build; nothing is kept when you leave."
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_enter_arguments(parser, "the target that fails to build")


def run(args: argparse.Namespace) -> int:
    """Run the build; returns 1 if it failed (after the shell), 0 if not."""
    with staged(args) as room:
        label = room.derivation.label
        files = {
            "hook": HOOK.replace("FILES", FILES_AT),
            "startup": shell_startup(label, GREETING.replace("LABEL", label)),
        }
        print(f"building {label} again, up to where it fails", file=sys.stderr)
        spec = room.with_files(files, room.spec.argv, BASH_ENV=f"{FILES_AT}/hook")
        ended = asyncio.run(run_interactive(spec))
    if ended.exit_code == 0:
        print(f"{label} was built without a failure ('nexis-eval build' keeps the result)", file=sys.stderr)
        return 0
    if ended.reason:
        print(f"{label}: {ended.reason}", file=sys.stderr)
    return 1
