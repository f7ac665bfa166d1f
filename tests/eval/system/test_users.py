"""Accounts: numbers that stay, owners that exist, keys that only their owner can read."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from nexis_eval.config.model import ConfigFile, Group, LocalPath, Package, Sections, Service, User
from nexis_eval.secrets import Secret
from nexis_eval.system.assemble import contributions
from nexis_eval.system.contribution import Contribution
from nexis_eval.system.users import STAND_IN, accounts
from tests.eval.system.systems import assembled, files_of, make_system, text_of

KEY = "ssh-ed25519 AAAA ada@example.org"
HERE = LocalPath("x", Path(__file__))


def _lines(text: str) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split(":") for line in text.splitlines()}


def _everything(**sections: Any) -> tuple[Sections, Contribution]:
    view = make_system(**sections)
    return view.config, contributions(view).everything


def test_a_person_with_everything() -> None:
    ada = User(
        "ada", Secret("$argon2id$x"), (KEY,), uid=1000, groups=("audio", "lab"), description="Ada", shell="/bin/ash"
    )
    system = make_system(users={"ada": ada})
    part = assembled(system, "users")
    assert "ada:x:1000:1000:Ada:/home/ada:/bin/ash\n" in text_of(part, "etc/passwd")
    assert f"ada:{STAND_IN}::0:99999:7:::\n" in text_of(part, "etc/shadow")
    lines = _lines(text_of(part, "etc/group"))
    assert lines["ada"][2] == "1000"
    assert lines["audio"] == ["audio", "x", "29", "ada"]
    assert lines["lab"][3] == "ada"
    entries = files_of(part)
    assert (entries["home/ada"].mode, entries["home/ada"].owner) == (0o700, "ada")
    keys = entries["home/ada/.ssh/authorized_keys"]
    assert (keys.text, keys.mode, keys.owner, keys.group) == (KEY + "\n", 0o600, "ada", "ada")


def test_without_a_hash_there_is_no_password() -> None:
    system = make_system()
    assert "root:*::0:99999:7:::\n" in text_of(assembled(system, "users"), "etc/shadow")
    shadow = files_of(assembled(system, "users"))["etc/shadow"]
    assert (shadow.mode, shadow.group) == (0o640, "shadow")


def _install(directory: Path, shadow: str, secrets: str | None) -> str:
    """What the start-up script says and does to a system below ``directory``."""
    system = make_system()
    script = text_of(assembled(system, "users"), "usr/lib/nexis/start/passwords")
    for each in ("etc", "run/nexis/warnings"):
        (directory / each).mkdir(parents=True)
    (directory / "etc/shadow").write_text(shadow)
    (directory / "etc/shadow").chmod(0o640)
    if secrets is not None:
        (directory / "run/nexis/secrets").write_text(secrets)
    for path in ("/etc/shadow", "/run/nexis"):
        script = script.replace(path, f"{directory}{path}")
    script = script.replace("export PATH=", "# ")
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (directory / "etc/shadow").stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in (directory / "etc").iterdir()) == ["shadow"]
    assert not (directory / "run/nexis/secrets").exists()
    warning = directory / "run/nexis/warnings/passwords"
    return warning.read_text() if warning.exists() else ""


SHADOW = "root:{}::0:99999:7:::\ndaemon:*::0:99999:7:::\nada:{}::0:99999:7:::\nada-2:{}:1:::::\\:\n"


def test_a_started_system_has_the_passwords_that_came_with_the_initramfs(tmp_path: Path) -> None:
    secrets = "password ada $y$a/b&c\\1$.\npassword root $6$x$y\npassword other $6$z\n"
    assert _install(tmp_path, SHADOW.format(STAND_IN, STAND_IN, "$6$own"), secrets) == ""
    assert (tmp_path / "etc/shadow").read_text() == SHADOW.format("$6$x$y", "$y$a/b&c\\1$.", "$6$own")


@pytest.mark.parametrize("secrets", [None, "", "password ada $6$x\n"])
def test_a_started_system_says_which_passwords_it_lacks(tmp_path: Path, secrets: str | None) -> None:
    said = _install(tmp_path, SHADOW.format(STAND_IN, STAND_IN, "*"), secrets)
    lacking = "root" if secrets else "root ada"
    assert said.startswith(f"*** This image does not hold the passwords of {lacking}: ")
    ada = "$6$x" if secrets else STAND_IN
    assert (tmp_path / "etc/shadow").read_text() == SHADOW.format(STAND_IN, ada, "*")


def test_passwords_that_were_changed_stay(tmp_path: Path) -> None:
    shadow = SHADOW.format("$6$1", "$6$2", "!")
    assert _install(tmp_path, shadow, "password root $6$x\n") == ""
    assert (tmp_path / "etc/shadow").read_text() == shadow


def test_numbers_do_not_change_when_others_come() -> None:
    alone = {each.user.name: each.uid for each in accounts(*_everything(users={"eve": User("eve")}))[0]}
    many = {name: User(name) for name in ("adam", "eve", "bob", "zoe")}
    together = {each.user.name: each.uid for each in accounts(*_everything(users=many))[0]}
    assert alone["eve"] == together["eve"]
    assert 1000 <= alone["eve"] < 60000


def test_numbers_are_never_given_twice() -> None:
    many = {f"user{number}": User(f"user{number}", system=number % 2 == 0) for number in range(600)}
    many["fixed"] = User("fixed", uid=1234, gid=1234)
    found, groups = accounts(*_everything(users=many))
    assert len({each.uid for each in found}) == len(found)
    assert len({number for number, _ in groups.values()}) == len(groups)
    assert all(100 < each.uid < 1000 for each in found if each.user.system and each.user.name.startswith("user"))


def test_owners_that_nobody_declared_exist() -> None:
    file = ConfigFile("clamav", "/etc/clamav.conf", HERE, owner="clamav", group="scanners")
    package = Package("mail", attributes={"/usr/bin/mail": "root:maildrop 2755"})
    service = Service("web", command="/bin/web", user="www")
    system = make_system(config_files={"clamav": file}, packages={"mail": package}, services={"web": service})
    part = assembled(system, "users")
    people = _lines(text_of(part, "etc/passwd"))
    groups = _lines(text_of(part, "etc/group"))
    assert people["clamav"][6] == people["www"][6] == "/usr/sbin/nologin"
    assert {"clamav", "scanners", "maildrop", "www"} <= set(groups)


def test_declared_groups() -> None:
    groups = {"lab": Group("lab"), "fixed": Group("fixed", gid=777), "audio": Group("audio")}
    system = make_system(users={"ada": User("ada", groups=("lab", "fixed"))}, groups=groups)
    lines = _lines(text_of(assembled(system, "users"), "etc/group"))
    assert lines["fixed"] == ["fixed", "x", "777", "ada"]
    assert lines["lab"][3] == "ada"
    assert 100 < int(lines["lab"][2]) < 1000
    assert lines["audio"][2] == "29"


def test_groups_by_number_belong_to_who_has_it() -> None:
    system = make_system(users={"ada": User("ada", uid=1000, gid=100, authorized_keys=(KEY,))})
    part = assembled(system, "users")
    assert "ada" not in _lines(text_of(part, "etc/group"))
    assert files_of(part)["home/ada"].group == "users"


def test_shells_are_those_of_people() -> None:
    people = {"eve": User("eve", shell="/usr/bin/fish"), "ada": User("ada", shell="/bin/bash"), "bob": User("bob")}
    robots = {"web": User("web", system=True, shell="/usr/sbin/nologin"), "ftp": User("ftp", shell="/bin/false")}
    system = make_system(users={**people, **robots})
    assert text_of(assembled(system, "skeleton"), "etc/shells") == "/bin/sh\n/bin/bash\n/usr/bin/fish\n"


def test_what_a_service_runs_as_keeps_its_number() -> None:
    service = Service("web", command="/bin/web", user="daemon")
    lines = _lines(text_of(assembled(make_system(services={"web": service}), "users"), "etc/passwd"))
    assert lines["daemon"][2:4] == ["1", "1"]
    assert lines["root"][2:4] == ["0", "0"]
