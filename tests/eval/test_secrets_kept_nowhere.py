"""A password hash of a configuration is in nothing that is kept: store, records, caches, logs, what commands print."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from pathlib import Path

import pytest

from nexis_eval.cli.bug import report
from nexis_eval.cli.main import run
from nexis_eval.config.model import User
from nexis_eval.secrets import HIDDEN, Secret, blotted, blotted_override

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = ROOT / "examples/minimal"
CANARIES = ("Canary1one", "Canary2two", "Canary3three", "Canary4four", "Canary5five")
"""What no file and no output may have."""


def hashed(canary: str) -> str:
    return f"$6$saltsalt${canary}AbMuXQ3V9jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"


class Owner:
    """Somebody with a home of their own, and a system of which they know the passwords."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.system, self.capsys = home, home / "system", capsys
        shutil.copytree(MINIMAL, self.system)
        self.file = self.system / "system.toml"
        self.output = ""
        self.configure(*CANARIES)

    def configure(self, root: str, ada: str, eve: str, old: str, bob: str) -> None:
        """Write the configuration, with a hash of every kind, in every way."""
        text = re.sub(r"^password_hash = '\$argon2.*'$", "", (MINIMAL / "system.toml").read_text(), flags=re.MULTILINE)
        text = text.replace("[users.root]\n", f"[users.root]\npassword_hash = '{hashed(root)}'\n")
        text = text.replace("[users.ada]\n", "[users.ada]\npassword_hash_file = 'ada'\n")
        escaped = hashed(eve).replace("$", "\\u0024").replace("Canary", "\\u0043anary")
        text += f'\n[users.eve]\npassword_hash = "{escaped}"\n'
        text += f"\n# password_hash = '{hashed(old)}'\n"
        text += f"\n[profile.more.users.bob]\npassword_hash = '{hashed(bob)}'\n"
        self.file.write_text(text)
        self.write("ada", hashed(ada))

    def write(self, name: str, text: str) -> None:
        """Write a file that is for nobody else."""
        (self.system / name).write_text(text + "\n")
        (self.system / name).chmod(0o600)

    def types(self, *words: str) -> str:
        """What a command prints, which must succeed."""
        code = run([*words])
        out, err = self.capsys.readouterr()
        self.output += out + err
        assert code == 0, out + err
        return out + err

    def ids(self) -> str:
        """The identities of all steps of the system."""
        return self.types("graph", str(self.file), "--locked", "--json", "--all")

    def kept(self) -> dict[str, bytes]:
        """All that is in this home beside what its owner wrote."""
        found = {}
        for path in sorted(self.home.rglob("*")):
            if path.is_file() and not path.is_symlink() and self.system not in path.parents:
                found[str(path.relative_to(self.home))] = path.read_bytes()
        return found

    def look(self) -> None:
        """See that no canary is anywhere."""
        kept = self.kept()
        assert any(name.startswith("cache/") for name in kept)
        for canary in CANARIES:
            assert canary not in self.output
            # Four characters more than hold the half of it are told from what is there by accident.
            needles = (canary.encode(), canary.encode("utf-16-le"), canary.encode().hex().encode(), canary[1:].encode())
            assert [name for name, data in kept.items() if any(each in data for each in needles)] == []


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Owner:
    for variable, name in {
        "HOME": "",
        "XDG_CACHE_HOME": "cache",
        "XDG_DATA_HOME": "data",
        "NEXIS_STORE": "store",
    }.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    return Owner(tmp_path, capsys)


def test_nothing_that_is_kept_or_shown_has_a_hash(owner: Owner) -> None:
    file = str(owner.file)
    owner.types("check", file)
    assert f"password_hash = {HIDDEN}" in owner.types("explain", "users.root", file)
    owner.types("explain", "users.eve.password_hash", file, "--json")
    owner.types("build", file, "system-users", "--locked", "--log-format", "raw", "--trace", str(owner.home / "trace"))
    shown = owner.types("show-derivation", file, "system-users", "--locked", "--json")
    assert "*in-the-initramfs" in shown
    owner.types("show-derivation", file, "images", "--locked", "--recursive")
    for form in ("text", "dot", "html", "mermaid"):
        owner.types("graph", file, "--locked", "--all", "--format", form)
    owner.types("repro", "record", file, "system-users", "--locked", "-o", "record.json")
    before = owner.ids()
    owner.look()

    # Other hashes: nothing to do, and nothing of them is kept either.
    owner.configure(*reversed(CANARIES))
    assert "nothing to do" in owner.types("build", file, "system-users", "--locked")
    assert owner.ids() == before
    owner.types("why-rebuild", file, "system-users", "--locked")
    owner.look()

    # An edit of a package, which is taken into what is remembered.
    edited = owner.file.read_text().replace("SVR_PASSWORD_AUTH 0'", "SVR_PASSWORD_AUTH 0 //'")
    owner.file.write_text(edited)
    assert owner.ids() != before
    owner.look()

    # And no hash at all is another system.
    owner.file.write_text(edited.replace("password_hash_file = 'ada'\n", ""))
    assert "*in-the-initramfs" in owner.types("why-rebuild", file, "system-users", "--locked")
    owner.look()


def test_what_is_remembered_is_for_its_owner(owner: Owner) -> None:
    owner.types("check", str(owner.file))
    cache = owner.home / "cache/nexis/evaluation"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in cache.iterdir()} == {0o600}


def test_a_file_that_others_may_read_is_refused(owner: Owner) -> None:
    (owner.system / "ada").chmod(0o640)
    assert run(["check", str(owner.file)]) == 2
    said = owner.capsys.readouterr().out
    assert "others may read or write 'ada': its mode is 0640" in said
    assert "hint: keep it to yourself: chmod 600 ada\n" in said
    assert "Canary" not in said
    (owner.system / "ada").unlink()
    os.mkfifo(owner.system / "ada", 0o600)
    assert run(["check", str(owner.file)]) == 2
    assert "the password hash of 'ada' is not a file: 'ada'" in owner.capsys.readouterr().out


def test_a_hash_that_the_command_line_gives_is_shown_nowhere(owner: Owner) -> None:
    given = ["--set", f"users.root.password_hash={hashed(CANARIES[0])}"]
    said = owner.types("explain", "users.root.password_hash", str(owner.file), *given)
    assert f"--set users.root.password_hash={HIDDEN}" in said
    owner.types("check", str(owner.file), *given)
    owner.look()
    assert run(["check", str(owner.file), "--set", "users.root.password_hash=Canary1one"]) == 2
    assert "Canary" not in owner.capsys.readouterr().out


def test_a_secret_shows_nothing_of_itself() -> None:
    secret = Secret(CANARIES[0])
    for text in (repr(secret), str(secret), f"{secret}", f"{User('ada', secret)}"):
        assert CANARIES[0] not in text
    assert CANARIES[0].encode() not in pickle.dumps(User("ada", secret))
    assert isinstance(pickle.loads(pickle.dumps(secret)), Secret)
    assert secret.reveal() == CANARIES[0]
    assert secret == Secret(CANARIES[0]) != Secret(CANARIES[1])
    assert len({secret, Secret(CANARIES[0])}) == 1


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('password_hash = "hunter2"', 'password_hash = "*******"'),
        ("ada = { password_hash='hunter2', shell='/x' }", "ada = { password_hash='*******', shell='/x' }"),
        ('users.ada."password_hash" = "hunter2', 'users.ada."password_hash" = "*******'),
        ('password_hash_file = "ada"', 'password_hash_file = "ada"'),
        ("x = '$6$saltsalt$qFmFH.bQ'", "x = '********************'"),
        ('source = "https://me:hunter2@host/x@1"', 'source = "https://me:*******@host/x@1"'),
        ('source = "https://token@host/x"', 'source = "https://*****@host/x"'),
        ('phases.build = "echo $x"', 'phases.build = "echo $x"'),
    ],
)
def test_a_line_of_a_configuration_is_shown_without_its_secrets(line: str, shown: str) -> None:
    assert blotted(line) == shown


def test_an_override_is_shown_without_its_secret() -> None:
    assert blotted_override("users.ada.password_hash=hunter2") == f"users.ada.password_hash={HIDDEN}"
    assert blotted_override("--set=users.ada.password_hash=hunter2") == f"--set=users.ada.password_hash={HIDDEN}"
    assert "hunter2" not in blotted_override('users.ada={ password_hash = "hunter2" }')
    assert blotted_override("packages.zlib.version=1.3") == "packages.zlib.version=1.3"
    assert blotted_override("system.toml") == "system.toml"


def test_a_report_of_a_bug_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["nexis-eval", "check", "--set", f"users.ada.password_hash={CANARIES[0]}"])
    assert report(ValueError(f"not {hashed(CANARIES[1])} but {Secret(CANARIES[2])}")) == 70
    (file,) = tmp_path.iterdir()
    for text in (capsys.readouterr().err, file.read_text()):
        assert "ValueError: not (secret) but (secret)" in text
        assert "Canary" not in text
