"""A block device that keeps a log of everything written to it, so that any moment of a run can be had again.

A file served over FUSE by this process lies under a loop device, and that under the file system: each write of the file
system arrives here as one request, each flush of the device's cache as an fsync. The protocol is <linux/fuse.h>'s.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC, _FLUSH, _INIT = (
    3,
    4,
    14,
    15,
    16,
    17,
    18,
    20,
    25,
    26,
)
_FORGET, _INTERRUPT, _BATCH_FORGET = 2, 36, 42
_ASYNC_READ, _BIG_WRITES, _MAX_PAGES = 1 << 0, 1 << 5, 1 << 22
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that the file system gave to the device."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Everything written before is on the disk."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the one who wrote said meanwhile."""

    text: str


class Recorder:
    """Serves the image at ``place`` (an empty file) and keeps the log. End it with ``close``, after unmounting."""

    def __init__(self, image: Path, place: Path) -> None:
        self.log: list[Write | Flush | Note] = []
        self._place = place
        self._image = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._size = os.fstat(self._image).st_size
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fuse},rootmode=100600,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"recorder", os.fsencode(place), b"fuse", 0, options) != 0:
            os.close(self._fuse)
            os.close(self._image)
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(place))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fuse, _MOST + 4096)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                return
            _, code, unique, *_ = _IN.unpack_from(request)
            if code in (_FORGET, _INTERRUPT, _BATCH_FORGET):
                continue
            answer = self._answer(code, memoryview(request)[_IN.size :])
            body = b"" if isinstance(answer, int) else answer
            failed = answer if isinstance(answer, int) else 0
            with contextlib.suppress(OSError):
                os.write(self._fuse, _OUT.pack(_OUT.size + len(body), -failed, unique) + body)

    def _answer(self, code: int, body: memoryview) -> bytes | int:
        """What a request is answered with, or the error."""
        if code == _INIT:
            flags = _ASYNC_READ | _BIG_WRITES | _MAX_PAGES
            return struct.pack("=IIIIHHIIHHII6I", 7, 31, 1 << 17, flags, 16, 12, _MOST, 1, 256, 0, 0, 0, *[0] * 6)
        if code in (_GETATTR, _SETATTR):
            times = struct.pack("=QQQIII", 0, 0, 0, 0, 0, 0)
            return struct.pack("=QII", 3600, 0, 0) + struct.pack(
                "=QQQ36sIIIIIII", 1, self._size, self._size // 512, times, 0o100600, 1, 0, 0, 0, 4096, 0
            )
        if code == _OPEN:
            return struct.pack("=QII", 1, 0, 0)
        if code == _READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            return os.pread(self._image, size, offset)
        if code == _WRITE:
            _, offset, size = struct.unpack_from("=QQI", body)
            data = bytes(body[40 : 40 + size])
            os.pwrite(self._image, data, offset)
            self.log.append(Write(offset, data))
            return struct.pack("=II", size, 0)
        if code == _FSYNC:
            self.log.append(Flush())
            return b""
        if code == _STATFS:
            return struct.pack("=QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 1, 1, 4096, 255, 4096, 0)
        return b"" if code in (_FLUSH, _RELEASE) else errno.ENOSYS

    def note(self, text: str) -> None:
        """Put a note behind what has been written so far."""
        self.log.append(Note(text))

    def disown(self) -> None:
        """For a forked child: if the parent is killed the device must end, or the child would wait for it forever."""
        os.close(self._fuse)

    def close(self) -> None:
        """Take the file away; the log stays."""
        subprocess.run(["umount", str(self._place)], check=True)
        self._thread.join(10)
        os.close(self._fuse)
        os.close(self._image)


def record(image: Path, place: Path) -> Recorder:
    """A recorder; skips the test, with the reason, where there is no FUSE."""
    place.touch()
    try:
        return Recorder(image, place)
    except OSError as error:
        pytest.skip(f"no device of our own can be served: {error}")
