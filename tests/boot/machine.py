"""A booted system: logging in and running commands on its serial console."""

from __future__ import annotations

import itertools
import re

from tests.boot.console import Console, SilenceError

LOGIN_SECONDS = 600
"""A boot takes 10 to 20 s when nothing else runs, and many times that where builds run beside it."""
COMMAND_SECONDS = 120


class Machine:
    """A console with somebody at it."""

    def __init__(self, console: Console, *, sound: bool = True) -> None:
        self.console = console
        self._sound = sound
        """Whether the system has nothing to warn of when somebody logs in."""
        self._number = itertools.count(1)

    def log_in(self, user: str, password: str, *, booting: bool = True) -> None:
        """Wait for the prompt, give name and password, and check that a shell answers."""
        self.console.wait_for(r"login: ", LOGIN_SECONDS if booting else COMMAND_SECONDS)
        self.console.send(f"{user}\n")
        self.console.wait_for(r"assword: ", COMMAND_SECONDS)
        self.console.send(f"{password}\n")
        found = self.console.wait_for(r"[#$] ?$|incorrect", COMMAND_SECONDS)
        if b"incorrect" in found.group():
            raise SilenceError(f"the password of {user} was refused")
        # A shell that is not at a terminal neither prompts nor edits lines; messages of the kernel would get between.
        self.console.send("stty -echo; dmesg -n 1 2>/dev/null; echo at''tentive; sh 2>&1 | cat; exit\n")
        self.console.wait_for("attentive", COMMAND_SECONDS)
        warnings = self.run("cat /run/nexis/warnings/* 2>/dev/null", check=False)
        assert not (self._sound and warnings), warnings

    def run(self, command: str, *, check: bool = True, seconds: float = COMMAND_SECONDS) -> str:
        """What ``command`` prints; with ``check`` it must succeed."""
        mark = f"nexis-{next(self._number)}"
        self.console.send(f"echo {mark}''-begin; {command}\necho {mark}''-end $?\n")
        found = self.console.wait_for(rf"^{mark}-begin\n((?:.*\n)*?)(.*?){mark}-end (\d+)$", seconds)
        output = (found.group(1) + found.group(2)).decode(errors="replace").strip()
        if check and found.group(3) != b"0":
            raise AssertionError(f"{command!r} failed with {found.group(3).decode()}: {output}")
        return output

    def log_out(self) -> None:
        """Back to the prompt of ``login``."""
        self.console.send("exit\n")

    def eventually(self, command: str, pattern: str, *, tries: int = 30) -> str:
        """Repeat ``command`` each second until its output matches ``pattern``; that output."""
        output = ""
        for _ in range(tries):
            output = self.run(command, check=False)
            if re.search(pattern, output):
                return output
            self.run("sleep 1")
        raise AssertionError(f"{command!r} never printed {pattern!r}, last: {output}")
