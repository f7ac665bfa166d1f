"""``[users.NAME]``: accounts, groups, password hashes, home directories, SSH keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nexis_eval.config.model import User
from nexis_eval.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

ROOT = User("root", uid=0, gid=0, home="/root", description="root")
NOBODY = User(
    "nobody", uid=65534, gid=65534, home="/nonexistent", shell="/bin/false", description="nobody", system=True
)

GROUPS = {"root": 0, "tty": 5, "disk": 6, "wheel": 10, "shadow": 42, "nogroup": 65534}
"""Groups that a system has anyway; numbers as in Debian's base-passwd."""

FIRST_UID = 1000
FIRST_SYSTEM_UID = 100


def accounts(users: Mapping[str, User]) -> list[tuple[User, int, int]]:
    """Each user with user and group number, root first. Numbers that are not given are handed out by name, in order."""
    declared = dict(users)
    root = declared.pop("root", ROOT)
    declared.pop("nobody", None)
    taken = {user.uid for user in declared.values() if user.uid is not None}
    result = [(root, 0, 0)]
    for name in sorted(declared):
        user = declared[name]
        uid = user.uid
        if uid is None:
            uid = FIRST_SYSTEM_UID if user.system else FIRST_UID
            while uid in taken:
                uid += 1
            taken.add(uid)
        result.append((user, uid, user.gid if user.gid is not None else uid))
    result.append((NOBODY, 65534, 65534))
    return result


def home_of(user: User) -> str:
    """The home directory of a user."""
    if user.home:
        return user.home
    if user.name == "root":
        return "/root"
    return "/var/lib/" + user.name if user.system else "/home/" + user.name


def _entries(users: Mapping[str, User]) -> Iterator[Entry]:
    passwd, shadow = [], []
    groups: dict[str, tuple[int, list[str]]] = {name: (gid, []) for name, gid in GROUPS.items()}
    everyone = accounts(users)
    for user, _, gid in everyone:
        known = {number for number, _ in groups.values()}
        if gid not in known:
            groups[user.name] = (gid, [])
    next_gid = max(FIRST_SYSTEM_UID, *(gid for gid, _ in groups.values() if gid < FIRST_UID)) + 1
    for user, uid, gid in everyone:
        passwd.append(f"{user.name}:x:{uid}:{gid}:{user.description}:{home_of(user)}:{user.shell}\n")
        shadow.append(f"{user.name}:{user.password_hash or '!'}:1:0:99999:7:::\n")
        for group in user.groups:
            if group not in groups:
                groups[group] = (next_gid, [])
                next_gid += 1
            groups[group][1].append(user.name)
        if user.name == "nobody":
            continue
        home = home_of(user).lstrip("/")
        if user.name != "root":
            yield Entry(home, mode=0o700, owner=user.name, group=str(gid))
        if user.authorized_keys:
            keys = "".join(key + "\n" for key in user.authorized_keys)
            yield Entry(f"{home}/.ssh", mode=0o700, owner=user.name, group=str(gid))
            yield Entry(f"{home}/.ssh/authorized_keys", text=keys, mode=0o600, owner=user.name, group=str(gid))
    group_lines = [
        f"{name}:x:{gid}:{','.join(members)}\n"
        for name, (gid, members) in sorted(groups.items(), key=lambda g: g[1][0])
    ]
    yield Entry("etc/passwd", text="".join(passwd))
    yield Entry("etc/group", text="".join(group_lines))
    yield Entry("etc/shadow", text="".join(shadow), mode=0o640, group="shadow")


def users(system: System) -> DerivationId:
    """The accounts as a part."""
    return system.files("system-users", _entries(system.config.users))
