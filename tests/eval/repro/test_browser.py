"""The HTML report in a real browser: nothing sticks out, nothing is fetched, and closed parts are printed, too."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nexis_eval.repro.causes import judge
from nexis_eval.repro.findings import Cause, Difference, Evidence, Strength, View
from nexis_eval.repro.formats.render import render
from nexis_eval.repro.report import Report, Status, Subject
from nexis_eval.repro.vary import NAMES

pytestmark = pytest.mark.slow

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-quic",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
FRAME = """<!DOCTYPE html><title>unread</title><iframe width="{width}" height="800" srcdoc="{page}" onload="
const root = this.contentDocument.documentElement;
const wide = [...root.querySelectorAll('main *')].filter(each => !each.closest('pre') && !each.closest('.hidden') &&
  each.getBoundingClientRect().right > root.clientWidth);
document.title = [root.scrollWidth, root.clientWidth, ...wide.map(each => each.className || each.tagName)].join(' ')
"></iframe>"""


@pytest.fixture(scope="module")
def page() -> str:
    """Everything at once: long names, long lines, deep nesting, many rows, a log, one row of each kind."""
    evidence = (Evidence(Cause.TIMESTAMP, Strength.PROOF, "1700000000 and 1800000000 are dates or times"),)
    view = View("text", "text", diff=("@@ -1 +1 @@", f"-{'x' * 400}", f"+{'y' * 400}"), evidence=evidence)
    for name in ("usr/bin/a-program", "root.squashfs", "image.iso"):
        view = View(name, "member", parts=(View("build id", "field", "a" * 80, "b" * 80), view))
    path = "usr/lib/python3.11/site-packages/" + "a_directory_with_a_long_name/" * 6 + "module.so"
    differences = tuple(
        Difference(f"{path}.{number}", "content", "1", "2", view, judge(evidence, NAMES)) for number in range(12)
    )
    rows = [
        Subject("l" * 90, "x86_64", Status.DIFFERS, differences, ("bisected",), rounds=3, duration_ns=10**12),
        *(Subject(f"package-{number}", "aarch64", rounds=3, duration_ns=10**9) for number in range(40)),
        Subject("after", "x86_64", Status.FOLLOWS, notes=("follows from " + "l" * 90,)),
        Subject("broken", "x86_64", Status.FAILED, notes=("failed", "make: *** " + "o" * 300, "hidden from view")),
    ]
    facts = (("varied", ", ".join(NAMES)), ("system", "s" * 120))
    return render(Report("A title", "b" * 120, "after", tuple(rows), facts), "html")


def browse(directory: Path, path: Path, *flags: str) -> str:
    """What Chromium prints when it opens a file without any network."""
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    command = ["chromium", *FLAGS, f"--user-data-dir={directory}/profile", "--host-resolver-rules=MAP * ~NOTFOUND"]
    return subprocess.run([*command, *flags, path.as_uri()], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_part_is_wider_than_the_window(tmp_path: Path, page: str, width: int) -> None:
    file = tmp_path / "frame.html"
    file.write_text(FRAME.format(width=width, page=html.escape(page)))
    found = re.search("<title>(.*)</title>", browse(tmp_path, file, "--dump-dom"))
    assert found is not None
    scrolled, visible, *wide = found[1].split()
    assert (scrolled, wide) == (visible, [])


def test_what_is_closed_on_the_screen_is_printed(tmp_path: Path, page: str) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext")
    (tmp_path / "page.html").write_text(page)
    browse(tmp_path, tmp_path / "page.html", f"--print-to-pdf={tmp_path}/page.pdf", "--no-pdf-header-footer")
    text = subprocess.run(["pdftotext", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True).stdout
    assert "hidden from view" in text
    assert "package-39" in text
    assert re.sub(r"\s", "", text).count("a_directory_with_a_long_name/" * 6 + "module.so.11") >= 1
