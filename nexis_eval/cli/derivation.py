"""Compare two recipes."""

from __future__ import annotations

COMMANDS = {"diff": "say in which field and which input two derivations differ"}

EPILOG = """\
exit codes: 0 the same recipe; 1 they differ; 2 they cannot be compared; 70 a bug in this program; 130 interrupted
"""
