"""Prove that builds are reproducible, and say where and why two of them differ."""

from __future__ import annotations

COMMANDS = {
    "check": "build again, everything about the machine varied, and compare",
    "record": "write a record of a build: graph, build keys, tree digests, environment",
    "diff": "compare two records, artifacts, stores, images, directories",
    "rebuild": "build again what a record describes, and compare",
}

EPILOG = """\
exit codes: 0 everything is the same, or done; 1 something differs (record: a build failed); 2 something could not be
compared; 70 a bug in this program; 130 interrupted
"""
