"""The specification's vim, with a release server and a git server of its own."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import tarfile
from pathlib import Path

from tests.eval.fetch.repositories import Repository
from tests.eval.fetch.servers import Site, git_backend

ARCHIVE = "/vim/vim/releases/download/v9.1.1/vim-v9.1.1-linux-x86_64.tar.gz"
SYSTEM = """\
[[packages]]
name = "vim"
version = "latest"
prebuilt = "{url}/vim/vim/releases/download/{{tag}}/vim-{{tag}}-linux-{{arch}}.tar.gz"
fallback_to_source = true
smoke_test = "vim --version"
source = "git+{url}/vim/vim.git/.git"
patches = ["patches/fix-utf8-bug.patch"]
pre_build_script = "./scripts/setup-env.sh"
post_build_script = "./scripts/custom-cleanup.sh"
build_system = "make"
build_flags = ["-j4"]
context_file = "contexts/vim.cil"
env = {{ "TERM" = "xterm-256color", "VIMRUNTIME" = "/usr/share/vim/vimfiles" }}
runtime_dirs = ["/var/log/vim", "$XDG_RUNTIME_DIR/vim"]
"""
FILES = {
    "patches/fix-utf8-bug.patch": "--- a/text\n+++ b/text\n@@ -1,2 +1,2 @@\n one\n-bug\n+fixed\n",
    "scripts/setup-env.sh": "#!/bin/sh\nexport GREETING=hello\n",
    "scripts/custom-cleanup.sh": '#!/bin/sh\nrm "$OUT/usr/share/vim/superfluous"\n',
    "contexts/vim.cil": '(filecon "/usr/bin/vim" file (system_u object_r bin_t ((s0) (s0))))\n',
}
MAKEFILE = """\
all:
\tprintf '#!/bin/sh\\necho built\\n' >vim
\techo "$$GREETING $$TERM $$VIMRUNTIME" >environment
install:
\tinstall -D -m 755 vim $(DESTDIR)/usr/bin/vim
\tinstall -D text $(DESTDIR)/usr/share/vim/text
\tinstall -D environment $(DESTDIR)/usr/share/vim/environment
\tinstall -D text $(DESTDIR)/usr/share/vim/superfluous
"""


def program(path: Path, status: int = 0, machine: int = 62) -> bytes:
    """A static program of no library that ends with ``status``; for another machine just its headers are changed."""
    source = (
        f'.globl _start\n_start: mov $60, %eax\nmov ${status}, %edi\nsyscall\n.section .note.GNU-stack,"",@progbits\n'
    )
    subprocess.run(
        ["gcc", "-x", "assembler", "-", "-nostdlib", "-static", "-o", path], input=source.encode(), check=True
    )
    data = bytearray(path.read_bytes())
    data[18:20] = struct.pack("<H", machine)
    return bytes(data)


def foreign_program(status: int = 0) -> bytes:
    """The same for aarch64, as bytes: an ELF header, one segment, and the system call ``exit``."""
    code = struct.pack("<3I", 0xD2800000 | status << 5, 0xD2800BA8, 0xD4000001)
    start = 0x400000
    head = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, start + 120, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, 132, 132, 0x1000) + code


def archive(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        member = tarfile.TarInfo("vim-v9.1.1/bin/vim")
        member.size, member.mode = len(data), 0o755
        file.addfile(member, io.BytesIO(data))
    return out.getvalue()


def release(directory: Path) -> Site:
    """Lay out the configuration in ``directory`` and start the servers; there is no archive yet, only the tag."""
    forge = Site(git_backend(directory / "srv"))
    answer = json.dumps({"tag_name": "v9.1.1"}).encode()
    forge.page("/api/v1/repos/vim/vim/releases/latest", answer, headers={"Content-Type": "application/json"})
    repository = Repository(directory / "srv" / "vim" / "vim.git")
    repository.commit({"Makefile": MAKEFILE, "text": "one\nbug\n"})
    repository.git("tag", "v9.1.1")
    for name, text in {"system.toml": SYSTEM.format(url=forge.url), **FILES}.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    return forge
