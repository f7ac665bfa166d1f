"""Somebody who types commands: the real command line, with a toolchain of this machine's own programs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.boot.console import Console

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
import nexis_eval.places
nexis_eval.places.RULES = Path(sys.argv.pop(1))
from nexis_eval.cli.main import main
main()
"""
PACKAGE = """
[[packages]]
name = "{name}"
version = "1.0"
source = "{source}"
hash = "{hash}"
build_system = "script"
"""


@dataclass(frozen=True)
class Person:
    """In ``directory``, where their system.toml is."""

    directory: Path
    rules: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "NEXIS_STORE": str(self.directory / "store"),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
            "PYTHONPATH": str(REPOSITORY),
            "TERM": "xterm",
            "NO_COLOR": "1",
        }

    def write(self, **scripts: str) -> None:
        """A system of packages, each with its table as text."""
        source = self.directory / "source"
        source.write_text("a source\n")
        import hashlib

        digest = f"sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}"
        text = '[system]\nhostname = "test"\n'
        for name, table in scripts.items():
            text += PACKAGE.format(name=name, source=source.as_uri(), hash=digest) + table + "\n"
        (self.directory / "system.toml").write_text(text)

    def command(self, *arguments: str) -> list[str]:
        """What runs ``nexis-eval`` with ``arguments``."""
        return [sys.executable, "-c", PROGRAM, str(self.rules), *arguments]

    def types(self, *arguments: str, typed: str = "", at: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command without a terminal."""
        done = subprocess.run(
            self.command(*arguments),
            input=typed,
            capture_output=True,
            text=True,
            cwd=at or self.directory,
            env=self.environment,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def sits_at(self, *arguments: str) -> Console:
        """A terminal with a shell in which a command was typed; ``DONE n`` follows its end, with the exit code."""
        script = (
            'trap : INT; cd "$0" || exit; "$@"; code=$?; '
            'stty -a | grep -o " -*icanon\\| -*echo " | tr "\\n" ";"; echo DONE $code'
        )
        return Console(["/bin/sh", "-c", script, str(self.directory), *self.command(*arguments)], self.environment)
