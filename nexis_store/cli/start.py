"""What a process needs before a command may run in it, whatever started it. It comes first, and imports little."""

from __future__ import annotations

# Not signal: what it imports takes milliseconds in which Ctrl-C would be a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys


def prepare() -> None:
    """Make the process fit for any command: quiet on Ctrl-C until it runs, in UTF-8, with standard streams.

    In a locale that is not UTF-8 Python would read and write files and their names in another encoding. It starts
    again in its UTF-8 mode then, which it chooses by itself in the locales C and POSIX.
    """
    quiet_on_interrupt()
    _open_standard_streams()
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode and sys.executable:
        os.execv(sys.executable, [sys.orig_argv[0], "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def quiet_on_interrupt() -> None:
    """Let Ctrl-C end the process at once, without a word, unless who started it wants it ignored."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt``, where it would end the process."""
    if _signal.getsignal(_signal.SIGINT) is _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _open_standard_streams() -> None:
    """Give those that were closed nothing to read from or to write to: the next file opened would take their place."""
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(lowest, True)
    os.close(lowest)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
