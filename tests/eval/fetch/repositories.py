"""Repositories made by the real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Repository:
    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main", *options)

    def git(self, *arguments: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in IDENTITY.items()},
        }
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", "-c", "gc.auto=0", *arguments],
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: dict[str, bytes | str], message: str = "a change") -> str:
        """Write ``files`` and commit; returns the commit."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


IDENTITY = {"NAME": "A Person", "EMAIL": "person@example.org", "DATE": "2024-01-01T00:00:00Z"}
