"""What a user sees when the program itself is wrong: a short note, and the traceback in a file to send along."""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

from nexis_eval.secrets import blotted_override, hidden

EXIT_CODE = 70
"""``EX_SOFTWARE`` of ``sysexits.h``."""


def report(error: Exception, program: str = "nexis-eval") -> int:
    """Tell about a bug on standard error and keep the traceback in a file; returns the exit code."""
    command = " ".join(map(blotted_override, sys.argv))
    details = hidden("".join(traceback.format_exception(error)))
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    print(f"{program}: this is a bug in {program}, not in your configuration", file=sys.stderr)
    print(f"  {type(error).__name__}: {hidden(str(error))}{where}", file=sys.stderr)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix=f"{program}-bug-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"command: {command}\npython: {sys.version}\n\n{details}")
        print(f"hint: please report it with the file {file.name}", file=sys.stderr)
    except OSError:
        # No room or no right to write even there: the traceback is all there is to send.
        print(details, file=sys.stderr)
    return EXIT_CODE
