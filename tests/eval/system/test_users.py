"""Accounts: numbers that stay, owners that exist, keys that only their owner can read."""

from __future__ import annotations

from pathlib import Path

from nexis_eval.config.model import ConfigFile, Group, LocalPath, Package, Service, User
from nexis_eval.system.users import accounts, users
from tests.eval.system.systems import files_of, make_system, text_of

KEY = "ssh-ed25519 AAAA ada@example.org"
HERE = LocalPath("x", Path("x"))


def _lines(text: str) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split(":") for line in text.splitlines()}


def test_a_person_with_everything() -> None:
    ada = User("ada", "$argon2id$x", (KEY,), uid=1000, groups=("audio", "lab"), description="Ada", shell="/bin/ash")
    system = make_system(users={"ada": ada})
    part = users(system)
    assert "ada:x:1000:1000:Ada:/home/ada:/bin/ash\n" in text_of(system, part, "etc/passwd")
    assert "ada:$argon2id$x::0:99999:7:::\n" in text_of(system, part, "etc/shadow")
    groups = _lines(text_of(system, part, "etc/group"))
    assert groups["ada"][2] == "1000"
    assert groups["audio"] == ["audio", "x", "29", "ada"]
    assert groups["lab"][3] == "ada"
    entries = files_of(system, part)
    assert (entries["home/ada"].mode, entries["home/ada"].owner) == (0o700, "ada")
    keys = entries["home/ada/.ssh/authorized_keys"]
    assert (keys.text, keys.mode, keys.owner, keys.group) == (KEY + "\n", 0o600, "ada", "ada")


def test_without_a_hash_there_is_no_password() -> None:
    system = make_system()
    assert "root:*::0:99999:7:::\n" in text_of(system, users(system), "etc/shadow")
    shadow = files_of(system, users(system))["etc/shadow"]
    assert (shadow.mode, shadow.group) == (0o640, "shadow")


def test_numbers_do_not_change_when_others_come() -> None:
    alone = {each.user.name: each.uid for each in accounts(make_system(users={"eve": User("eve")}).config)[0]}
    many = {name: User(name) for name in ("adam", "eve", "bob", "zoe")}
    together = {each.user.name: each.uid for each in accounts(make_system(users=many).config)[0]}
    assert alone["eve"] == together["eve"]
    assert 1000 <= alone["eve"] < 60000


def test_numbers_are_never_given_twice() -> None:
    many = {f"user{number}": User(f"user{number}", system=number % 2 == 0) for number in range(600)}
    many["fixed"] = User("fixed", uid=1234, gid=1234)
    found, groups = accounts(make_system(users=many).config)
    assert len({each.uid for each in found}) == len(found)
    assert len({number for number, _ in groups.values()}) == len(groups)
    assert all(100 < each.uid < 1000 for each in found if each.user.system and each.user.name.startswith("user"))


def test_owners_that_nobody_declared_exist() -> None:
    file = ConfigFile("clamav", "/etc/clamav.conf", HERE, owner="clamav", group="scanners")
    package = Package("mail", attributes={"/usr/bin/mail": "root:maildrop 2755"})
    service = Service("web", command="/bin/web", user="www")
    system = make_system(config_files={"clamav": file}, packages={"mail": package}, services={"web": service})
    part = users(system)
    people = _lines(text_of(system, part, "etc/passwd"))
    groups = _lines(text_of(system, part, "etc/group"))
    assert people["clamav"][6] == people["www"][6] == "/usr/sbin/nologin"
    assert {"clamav", "scanners", "maildrop", "www"} <= set(groups)


def test_declared_groups() -> None:
    groups = {"lab": Group("lab"), "fixed": Group("fixed", gid=777), "audio": Group("audio")}
    system = make_system(users={"ada": User("ada", groups=("lab", "fixed"))}, groups=groups)
    lines = _lines(text_of(system, users(system), "etc/group"))
    assert lines["fixed"] == ["fixed", "x", "777", "ada"]
    assert lines["lab"][3] == "ada"
    assert 100 < int(lines["lab"][2]) < 1000
    assert lines["audio"][2] == "29"


def test_groups_by_number_belong_to_who_has_it() -> None:
    system = make_system(users={"ada": User("ada", uid=1000, gid=100, authorized_keys=(KEY,))})
    part = users(system)
    assert "ada" not in _lines(text_of(system, part, "etc/group"))
    assert files_of(system, part)["home/ada"].group == "users"
