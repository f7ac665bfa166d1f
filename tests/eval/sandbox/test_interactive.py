from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

from tests.eval.sandbox.rooms import Room

PROGRAM = """
import asyncio, sys
from pathlib import Path
from nexis_eval.sandbox.interactive import run_interactive
from tests.eval.sandbox.rooms import Room

room = Room(Path(sys.argv[1]))
ended = asyncio.run(run_interactive(room.spec("", argv=("/bin/bash", "--norc", *sys.argv[2:]))))
sys.exit(ended.exit_code)
"""
REPOSITORY = Path(__file__).parents[3]


class Person:
    """Somebody at a terminal."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(REPOSITORY)
            os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(room.path)])
        self.seen = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 10
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.seen += os.read(self.terminal, 4096).decode()
        self.seen = self.seen.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())


def test_a_terminal_of_its_own(room: Room) -> None:
    person = Person(room)
    person.wait_for("$ ")
    ioctl(person.terminal, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    person.type("tty; id -u; pwd; stty size\r")
    person.wait_for("/dev/pts/0\r\n1000\r\n/build\r\n33 77\r\n")
    person.type("sleep 1000\r")
    time.sleep(0.2)
    person.type("\x03")
    person.wait_for("$ ")
    person.type("echo $((128+2)) $?; sleep 1000 & jobs\r")
    person.wait_for("130 130")
    person.wait_for("Running")
    person.type("exit 9\r")
    assert os.waitstatus_to_exitcode(os.waitpid(person.pid, 0)[1]) == 9
    os.close(person.terminal)


def test_without_a_terminal_the_streams_are_passed_on(room: Room) -> None:
    command = [sys.executable, "-c", PROGRAM, str(room.path), "-c", "cat; tty; echo problem >&2; exit 6"]
    result = subprocess.run(command, input="typed\n", capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (6, "typed\nnot a tty\n", "problem\n")
