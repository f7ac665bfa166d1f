"""Accounts: passwd, group, shadow, homes, keys."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.config.model import ConfigFile, LocalPath, Service, User
from nexis_eval.derivation import Entry
from nexis_eval.system.users import accounts, users
from tests.eval.system.parts import FILE, configured, entries_of, system_of, text_of


def made(**sections: object) -> Mapping[str, Entry]:
    system = system_of(configured(**sections))
    return entries_of(system, users(system))


def lines(entries: Mapping[str, Entry], path: str) -> dict[str, list[str]]:
    return {(fields := line.split(":"))[0]: fields for line in text_of(entries, path).splitlines()}


def test_a_system_without_users_has_a_root_that_cannot_log_in() -> None:
    entries = made()
    passwd = lines(entries, "etc/passwd")
    assert passwd["root"][2:4] == ["0", "0"]
    assert passwd["root"][5:] == ["/root", "/bin/sh"]
    assert passwd["nobody"][2] == "65534"
    assert lines(entries, "etc/shadow")["root"][1] == "!"


def test_hashes_go_to_shadow_only() -> None:
    entries = made(users={"ada": User("ada", password_hash="$argon2id$v=19$x")})
    assert lines(entries, "etc/shadow")["ada"][1] == "$argon2id$v=19$x"
    assert "argon2" not in text_of(entries, "etc/passwd")
    shadow = entries["etc/shadow"]
    assert (shadow.owner, shadow.group, shadow.mode) == ("root", "shadow", 0o640)


def test_keys_and_home_belong_to_their_user() -> None:
    entries = made(users={"ada": User("ada", uid=1000, authorized_keys=("ssh-ed25519 AAAA a@b", "ssh-rsa BBBB c"))})
    assert text_of(entries, "home/ada/.ssh/authorized_keys") == "ssh-ed25519 AAAA a@b\nssh-rsa BBBB c\n"
    for path, mode in (("home/ada", 0o700), ("home/ada/.ssh", 0o700), ("home/ada/.ssh/authorized_keys", 0o600)):
        assert (entries[path].owner, entries[path].group, entries[path].mode) == ("ada", "ada", mode)


def test_groups_get_their_members() -> None:
    group = lines(
        made(users={"ada": User("ada", groups=("video", "makers")), "bob": User("bob", groups=("makers",))}),
        "etc/group",
    )
    assert group["video"][2:] == ["44", "ada"]
    assert group["makers"][3] == "ada,bob"
    assert group["ada"][3] == ""


def test_owners_of_files_and_services_become_system_accounts() -> None:
    clamav = ConfigFile("clamav", "/etc/clamd.conf", LocalPath("x", FILE), owner="clamav", group="scanners")
    entries = made(config_files={"clamav": clamav}, services={"web": Service("web", command="/bin/x", user="www")})
    passwd = lines(entries, "etc/passwd")
    for name in ("clamav", "www"):
        assert 100 < int(passwd[name][2]) < 1000
        assert passwd[name][6] == "/usr/sbin/nologin"
    assert "scanners" in lines(entries, "etc/group")


def test_who_is_not_declared_root_is_still_root() -> None:
    passwd = lines(made(users={"root": User("root", uid=7, shell="/bin/bash")}), "etc/passwd")
    assert passwd["root"][2:4] == ["0", "0"]
    assert passwd["root"][6] == "/bin/bash"


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)


@given(st.dictionaries(NAMES, st.booleans(), max_size=12), NAMES)
def test_numbers_are_unique_and_do_not_depend_on_who_comes_later(people: dict[str, bool], other: str) -> None:
    found, groups = accounts(configured(users={name: User(name, system=system) for name, system in people.items()}))
    numbers = [account.uid for account in found]
    assert len(numbers) == len(set(numbers))
    gids = [number for number, _ in groups.values()]
    assert len(gids) == len(set(gids))
    for account in found:
        assert any(number == account.gid for number, _ in groups.values())
