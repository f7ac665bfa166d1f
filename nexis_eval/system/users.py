"""``[users.NAME]``: accounts, groups, password hashes, home directories, SSH keys. Formats: passwd(5), shadow(5)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from nexis_eval.config.accounts import GROUPS, home_of
from nexis_eval.config.model import Sections, User
from nexis_eval.graph.derivation import Entry
from nexis_eval.quoting import fields
from nexis_eval.system.contribution import Contribution, Program
from nexis_eval.system.templates import render
from nexis_eval.system.view import SystemView

PERSONS = range(1000, 60000)
SERVICES = range(101, 1000)
NO_LOGIN = "/usr/sbin/nologin"
STAND_IN = "*in-the-initramfs"
"""What an image's ``/etc/shadow`` has in place of a password: nobody can log in with it, and keys are accepted."""
NO_SHELLS = ("nologin", "false")
"""Not for /etc/shells: who has a program of this name as a shell cannot log in."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user with everything settled."""

    user: User
    uid: int
    gid: int
    group: str
    home: str


def _choose(name: str, numbers: range, taken: Collection[int]) -> int:
    """A number that depends on the name, so that nobody's changes when others come and go."""
    from blake3 import blake3

    start = int.from_bytes(blake3(name.encode()).digest()[:8], "big") % len(numbers)
    for step in range(len(numbers)):
        number = numbers[(start + step) % len(numbers)]
        if number not in taken:
            return number
    raise ValueError(f"no number is free for {name}")


def mentioned_owners(view: SystemView) -> tuple[set[str], set[str]]:
    """Users and groups that own configured files and services and files of packages, declared or not."""
    config = view.config
    users, groups = set(), set()
    for file in config.config_files.values():
        users.add(file.owner)
        groups.add(file.group)
    for service in config.services.values():
        if service.user:
            users.add(service.user)
    for package in view.packages.values():
        for text in package.attributes.values():
            owner, _, group = text.partition(" ")[0].partition(":")
            users.add(owner or "root")
            groups.add(group or owner or "root")
    for found in (users, groups):
        found.difference_update([each for each in found if each.isdigit()])
    return users, groups


def accounts(config: Sections, everything: Contribution) -> tuple[list[Account], dict[str, tuple[int, list[str]]]]:
    """All accounts by number, and all groups with their numbers and members.

    ``everything`` is what all parts contribute; what the configuration declares wins over it.
    """
    users = {
        **{user.name: user for user in everything.accounts},
        "root": User("root", uid=0, gid=0),
        "daemon": User("daemon", uid=1, gid=1, system=True, shell=NO_LOGIN, home="/usr/sbin"),
        "bin": User("bin", uid=2, gid=2, system=True, shell=NO_LOGIN, home="/bin"),
        "nobody": User("nobody", uid=65534, gid=65534, system=True, shell=NO_LOGIN, home="/nonexistent"),
        **config.users,
    }
    groups: dict[str, tuple[int, list[str]]] = {name: (number, []) for name, number in GROUPS.items()}
    groups.update({name: (group.gid, []) for name, group in config.groups.items() if group.gid is not None})
    uids = {user.uid for user in users.values() if user.uid is not None} | {0}
    gids = {number for number, _ in groups.values()}
    found = []
    for name in sorted(users, key=lambda name: (users[name].uid is None, name)):
        user = users[name]
        uid = 0 if name == "root" else user.uid
        if uid is None:
            uid = _choose(name, SERVICES if user.system else PERSONS, uids | gids)
        uids.add(uid)
        gid = 0 if name == "root" else user.gid if user.gid is not None else GROUPS.get(name, uid)
        owner = next((group for group, (number, _) in groups.items() if number == gid), None)
        if owner is None:
            groups[name] = (gid, [])
            owner = name
        gids.add(gid)
        found.append(Account(user, uid, gid, owner, home_of(user)))
    wanted = {group for user in users.values() for group in user.groups} | {*everything.groups} | config.groups.keys()
    for group in sorted(wanted - set(groups)):
        number = _choose(group, SERVICES, gids | uids)
        groups[group] = (number, [])
        gids.add(number)
    for user in users.values():
        for group in user.groups:
            groups[group][1].append(user.name)
    return sorted(found, key=lambda account: account.uid), groups


def _homes(account: Account) -> Iterator[Entry]:
    user = account.user
    home = account.home.strip("/")
    if not home or (user.system and not user.authorized_keys):
        return
    owner, group = user.name, account.group
    yield Entry(home, mode=0o700, owner=owner, group=group)
    if user.authorized_keys:
        keys = "".join(f"{key}\n" for key in user.authorized_keys)
        yield Entry(f"{home}/.ssh", mode=0o700, owner=owner, group=group)
        yield Entry(f"{home}/.ssh/authorized_keys", text=keys, mode=0o600, owner=owner, group=group)


def has_password(user: User) -> bool:
    """Whether a user logs in with a password, which the store never holds."""
    return user.password_hash_file is not None or user.password_hash not in (None, "!", "*")


def _password(user: User) -> str:
    """What ``/etc/shadow`` says of a password in the store."""
    if has_password(user):
        return STAND_IN
    # No password, but not locked ('!'), or OpenSSH takes no key either.
    return "!" if user.password_hash == "!" else "*"


def databases(view: SystemView, everything: Contribution) -> Iterator[Entry]:
    """The accounts of all parts: passwd(5), group(5), shadow(5), and homes."""
    everyone, groups = accounts(view.config, everything)
    passwd, shadow = [], []
    for account in everyone:
        user = account.user
        passwd.append(fields(user.name, "x", account.uid, account.gid, user.description, account.home, user.shell))
        # No date of the last change: that would be the clock's, or make the password too old.
        shadow.append(fields(user.name, _password(user), "", 0, 99999, 7, "", "", ""))
        yield from _homes(account)
    lines = [
        fields(name, "x", number, ",".join(sorted(members)))
        for name, (number, members) in sorted(groups.items(), key=lambda item: (item[1][0], item[0]))
    ]
    yield Entry("etc/passwd", text="".join(passwd))
    yield Entry("etc/group", text="".join(lines))
    yield Entry("etc/shadow", text="".join(shadow), mode=0o640, group="shadow")
    yield Entry("usr/lib/nexis/start/passwords", text=render("passwords.j2", stand_in=STAND_IN), mode=0o755)


def users(view: SystemView) -> Contribution:
    """The accounts that packages, files and services need, and the shells of people.

    Owners that are not declared become system accounts that nobody can log in to; the check of the configuration lets
    that be only those that ``config/accounts.py`` lists.
    """
    owners, groups = mentioned_owners(view)
    needed = [User(name, system=True, shell=NO_LOGIN) for name in sorted(owners)]
    if view.installed("firewalld", "dbus"):
        needed.append(User("messagebus", system=True, shell=NO_LOGIN, home="/run/dbus"))
    people = view.config.users
    return Contribution(
        accounts=tuple(needed),
        groups=tuple(sorted(groups)),
        shells=tuple(
            people[name].shell for name in sorted(people) if people[name].shell.rpartition("/")[2] not in NO_SHELLS
        ),
        programs=tuple(Program(user.shell, f"users.{name}.shell") for name, user in people.items()),
    )
