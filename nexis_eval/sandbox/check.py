"""Whether this machine lets us build sandboxes."""

from __future__ import annotations

import subprocess
import sys

from nexis_eval.sandbox.errors import SandboxError, setup_error
from nexis_eval.sandbox.isolated import command, environment


def available() -> None:
    """Try what a sandbox needs (some 30 ms); raises ``SandboxError`` that names the cure if something is forbidden."""
    if sys.platform != "linux":
        raise SandboxError("builds need Linux", hint="run this in a Linux machine, real or virtual")
    result = subprocess.run(
        command("nexis_eval.sandbox.probe"), env=environment(), cwd="/", capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise SandboxError(
            f"the check of the build sandbox failed: {last}", hint=f"is this Python complete? {sys.executable}"
        )
    if result.stdout:
        number, _, step = result.stdout.strip().partition(" ")
        raise setup_error(step, int(number))
