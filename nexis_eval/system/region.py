"""Time zone, keyboard and locale: what has to be made out of databases. The defaults need nothing made."""

from __future__ import annotations

from nexis_eval.system.steps import Tools
from nexis_store.digest import DerivationId

BUILT_IN_LOCALES = ("C", "POSIX", "C.UTF-8", "C.utf8")
"""No database is needed for these: musl has them built in; glibc's C.UTF-8 is a file that its package brings (in Debian
libc-bin), and static programs do with C."""


def timezone(tools: Tools) -> DerivationId | None:
    """``/etc/localtime``."""
    name = tools.system.config.system.timezone
    if name == "UTC":
        return None
    return tools.step("system-timezone", "timezone.sh", (), env={"TIMEZONE": name}, tools=("timezones",))


def keyboard(tools: Tools) -> DerivationId | None:
    """``/etc/keymap.bin``, which rcS loads."""
    layout = tools.system.config.system.locale.keyboard_layout
    if layout == "us":
        return None
    return tools.step("system-keymap", "keymap.sh", (), env={"LAYOUT": layout}, tools=("keyboard",))


def locale(tools: Tools) -> DerivationId | None:
    """The locale of ``LANG`` below ``/usr/lib/locale``."""
    name = tools.system.config.system.locale.lang
    if name in BUILT_IN_LOCALES:
        return None
    return tools.step("system-locale", "locale.sh", (), env={"LOCALE": name}, tools=("locales",))


def region(tools: Tools) -> list[DerivationId]:
    """The parts that the system's region asks for."""
    parts = (timezone(tools), keyboard(tools), locale(tools))
    return [part for part in parts if part is not None]
