"""Runs what may be stopped from outside, leaving nothing behind: no process, no file, no terminal in raw mode."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""What stops a command as Ctrl-C does. One that was started with it ignored (``nohup``) goes on."""


def run_stoppable(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end; raises ``KeyboardInterrupt`` once it was cancelled by a signal and has cleaned up.

    Ctrl-C counts unless it is ignored, as it is for what a shell script starts with ``&``.
    """

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None
        for each in SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(each, task.cancel)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
