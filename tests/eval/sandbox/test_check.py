from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nexis_eval.sandbox.errors import SandboxSpecError, setup_error
from tests.eval.sandbox.rooms import require_sandbox


def switches(directory: Path, **values: str) -> Path:
    for name, value in values.items():
        file = directory / name.replace("__", "/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(value + "\n")
    return directory


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("kernel__unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user__max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
        ("kernel__apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ],
)
def test_each_switch_has_its_cure(tmp_path: Path, name: str, value: str, cure: str) -> None:
    error = setup_error("unshare", errno.EPERM, sysctl=switches(tmp_path, **{name: value}))
    assert error.exit_code == 5
    assert "unshare: Operation not permitted" in error.message
    assert error.hint is not None
    assert cure in error.hint


def test_switches_in_their_normal_position_are_not_blamed(tmp_path: Path) -> None:
    sysctl = switches(tmp_path, kernel__unprivileged_userns_clone="1", user__max_user_namespaces="1000")
    error = setup_error("unshare", errno.EPERM, sysctl=sysctl)
    assert error.hint is not None
    assert "container" in error.hint


def test_a_missing_path_is_about_this_build(tmp_path: Path) -> None:
    assert isinstance(setup_error("move_mount /usr/x", errno.ENOENT, sysctl=tmp_path), SandboxSpecError)


def test_namespaces_switched_off_for_real() -> None:
    """In a user namespace of our own the switch can be turned without touching the machine's."""
    require_sandbox()
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare (util-linux) is not installed")
    script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$0" -c "$1"'
    program = "from nexis_eval.sandbox.check import available; available()"
    command = [unshare, "-Ur", "sh", "-c", script, sys.executable, program]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "the build sandbox cannot be set up: unshare: No space left on device" in result.stderr
    assert "hint: user namespaces are switched off: 'sudo sysctl -w user.max_user_namespaces" in result.stderr
