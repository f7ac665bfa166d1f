"""Time zone, keyboard and locale: what has to be made out of databases. The defaults need nothing made."""

from __future__ import annotations

from nexis_eval.system.contribution import Contribution, Step
from nexis_eval.system.view import SystemView

BUILT_IN_LOCALES = ("C", "POSIX", "C.UTF-8", "C.utf8")
"""No database is needed for these: musl has them built in; glibc's C.UTF-8 is a file that its package brings (in Debian
libc-bin), and static programs do with C."""


def region(view: SystemView) -> Contribution:
    """``/etc/localtime``, ``/etc/keymap.bin``, which rcS loads, and the locale of ``LANG``."""
    settings = view.config.system
    locale = settings.locale
    steps = []
    if settings.timezone != "UTC":
        steps.append(Step("system-timezone", "timezone.sh", (("TIMEZONE", settings.timezone),), ("timezones",)))
    if locale.keyboard_layout != "us":
        steps.append(Step("system-keymap", "keymap.sh", (("LAYOUT", locale.keyboard_layout),), ("keyboard",)))
    if locale.lang not in BUILT_IN_LOCALES:
        steps.append(Step("system-locale", "locale.sh", (("LOCALE", locale.lang),), ("locales",)))
    return Contribution(steps=tuple(steps))
