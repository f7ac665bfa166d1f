"""The script that rotates logs, run for real; its table is a part's (test_parts)."""

from __future__ import annotations

import gzip
import os
import subprocess
import time
from pathlib import Path

import pytest

from nexis_eval.system.templates import text


class Rotation:
    def __init__(self, directory: Path) -> None:
        self.log = directory / "log dir" / "x.log"
        self.log.parent.mkdir()
        self.rules = directory / "rules"
        self.state = directory / "state"
        self.script = directory / "rotate-logs"
        self.script.write_text(text("rotate-logs"))
        keeper = directory / "keeper"
        keeper.write_text(text("keeper"))
        keeper.chmod(0o755)

    def run(self, rule: str) -> list[str]:
        self.rules.write_text(f"# a comment\n\n{rule}\n")
        done = subprocess.run(
            ["sh", str(self.script), str(self.rules), str(self.state)], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return sorted(each.name for each in self.log.parent.iterdir())


@pytest.fixture
def rotation(tmp_path: Path) -> Rotation:
    return Rotation(tmp_path)


def test_rotates_what_is_larger_and_keeps_as_many_as_it_should(rotation: Rotation) -> None:
    for number in range(5):
        rotation.log.write_text(f"{number}" * 200)
        names = rotation.run(f"100 3 0 0 {rotation.log}")
    assert names == ["x.log", "x.log.1", "x.log.2", "x.log.3"]
    assert rotation.log.read_text() == ""
    assert [(rotation.log.parent / f"x.log.{n}").read_text()[0] for n in (1, 2, 3)] == ["4", "3", "2"]


def test_leaves_alone_what_is_small(rotation: Rotation) -> None:
    rotation.log.write_text("x" * 100)
    assert rotation.run(f"100 3 0 0 {rotation.log}") == ["x.log"]


def test_compresses(rotation: Rotation) -> None:
    rotation.log.write_text("x" * 200)
    assert rotation.run(f"100 3 1 0 {rotation.log}") == ["x.log", "x.log.1.gz"]
    assert gzip.decompress((rotation.log.parent / "x.log.1.gz").read_bytes()) == b"x" * 200


def test_rotates_by_age(rotation: Rotation) -> None:
    rotation.log.write_text("x")
    assert rotation.run(f"0 3 0 1 {rotation.log}") == ["x.log"]
    (stamp,) = rotation.state.iterdir()
    stamp.write_text(f"{int(time.time()) - 86401} x\n")
    assert rotation.run(f"0 3 0 1 {rotation.log}") == ["x.log", "x.log.1"]


def test_a_directory_stands_for_the_logs_in_it(rotation: Rotation) -> None:
    rotation.log.write_text("x" * 200)
    rotation.log.with_name("y.log").write_text("y" * 200)
    assert rotation.run(f"100 2 0 0 {rotation.log.parent}") == ["x.log", "x.log.1", "y.log", "y.log.1"]
    # What was rotated is not a log itself.
    assert rotation.run(f"100 2 0 0 {rotation.log.parent}") == ["x.log", "x.log.1", "y.log", "y.log.1"]


def test_the_writer_goes_on_writing(rotation: Rotation) -> None:
    with rotation.log.open("a") as writer:
        writer.write("x" * 200)
        writer.flush()
        rotation.run(f"100 3 0 0 {rotation.log}")
        writer.write("after")
    assert rotation.log.read_text() == "after"


def test_logs_of_like_names_have_times_of_their_own(rotation: Rotation) -> None:
    for name in ("a/b", "a_b"):
        file = rotation.log.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
        rotation.run(f"0 3 0 1 {file}")
    assert len(list(rotation.state.iterdir())) == 2


def test_a_log_that_is_a_link_is_rotated_where_it_leads(rotation: Rotation) -> None:
    target = rotation.log.with_name("target")
    target.write_text("x" * 200)
    rotation.log.symlink_to("target")
    assert rotation.run(f"100 3 0 0 {rotation.log}") == ["target", "target.1", "x.log"]
    assert rotation.log.is_symlink()
    assert target.read_text() == ""


def test_what_was_rotated_a_thousand_times_is_no_log(rotation: Rotation) -> None:
    for name in ("z.log", "z.log.1000", "z.log.999.gz"):
        rotation.log.with_name(name).write_text("z" * 200)
    names = rotation.run(f"100 1000 0 0 {rotation.log.parent}")
    assert names == ["z.log", "z.log.1", "z.log.1000.gz"]


KEEPER = """
cd {directory}
mkdir -p var/log var/app etc tmp && chmod 1777 tmp && chown 7:7 var/app && mkdir tmp/own tmp/his && chown 7:7 tmp/his
echo secret >etc/shadow; ln -s /var/app/x.log var/log/outside; ln -s /etc/shadow var/app/x.log; ln -s ../log/y var/app/l
ln -s a var/log/b; ln -s b var/log/a; mkdir var/shared && chmod 775 var/shared && chgrp 7 var/shared
mkdir var/app/hers && chown 8:8 var/app/hers
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/log/x", "0:0 /var/log/x"),
        ("/var//log/../log/./x", "0:0 /var/log/x"),
        ("/var/app/new", "7:7 /var/app/new"),
        # The link is the account's: what it leads to is not done with more rights than it has.
        ("/var/app/x.log", "7:7 /etc/shadow"),
        ("/var/log/outside", "7:7 /etc/shadow"),
        ("/var/app/l", "7:7 /var/log/y"),
        ("/tmp/own/x", "0:0 /tmp/own/x"),
        ("/tmp/his/x", "7:7 /tmp/his/x"),
        ("/tmp/x", "/tmp/x: others may write to /tmp"),
        ("/var/shared/x", "/var/shared/x: others may write to /var/shared"),
        ("/var/app/hers/x", "/var/app/hers/x: both the user 7 and the user 8 may replace it"),
        ("/var/log/a", "/var/log/a: too many links"),
        ("/none/x", "/none/x: /none not found"),
    ],
)
def test_who_decides_what_a_path_is(tmp_path: Path, path: str, expected: str) -> None:
    """In a root of its own, as a root of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs other accounts: run as root")
    root = tmp_path / "root"
    (root / "host").mkdir(parents=True)
    subprocess.run(["sh", "-ec", KEEPER.format(directory=root)], check=True)
    (root / "keeper").write_text(text("keeper"))
    mounts = "".join(f"mkdir -p $1{each} && mount --rbind {each} $1{each} && " for each in ("/usr",))
    links = "for each in bin lib lib64 sbin; do ln -sfn usr/$each $1/$each; done; mkdir -p $1/dev; "
    null = "touch $1/dev/null; mount --bind /dev/null $1/dev/null; "
    script = f'{mounts}{{ {links}{null}chroot $1 sh /keeper "$2" 2>&1; }}; :'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(root), path], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
