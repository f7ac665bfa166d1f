"""``[dinit_services.NAME]``: dinit's service files always, and the same services for busybox's ``runsv``.

dinit's format: dinit-service(5). runsv's: https://smarden.org/runit/runsv.8. What a system part needs running (network,
firewall, log rotation) is a service like any other, which a service of the same name in the configuration replaces.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace

from nexis_eval.config.errors import raise_together
from nexis_eval.config.model import Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.quoting import dinit_command, shell
from nexis_eval.system.contribution import Contribution, Program
from nexis_eval.system.templates import render, text
from nexis_eval.system.view import SystemView
from nexis_store.errors import NexisError

DIRECTORY = "usr/lib/nexis/services"
"""Not ``/etc/sv``: packages bring services there, which nobody declared."""
PATIENCE = 60
"""Seconds within which a ``bgprocess`` writes its PID file, where it has no ``start_timeout``."""
RESTART = {"true": "yes", "false": "no", "on-failure": "on-failure"}


class ServiceCommandError(NexisError):
    """The command of a service cannot be taken apart into words.

    As in dinit-service(5): words are separated by blanks, ``"`` quotes, ``\\`` takes the next character as it is.
    """

    code = "E0420"
    exit_code = 2


def words(service: Service, command: str, view: SystemView) -> list[str]:
    """``command`` as dinit takes it apart; raises ``ServiceCommandError``."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.quotes = '"'
    key = "command" if command == service.command else "stop_command"
    place = view.config.place(("dinit_services", service.name, key))
    try:
        found = list(lexer)
    except ValueError as error:
        raise ServiceCommandError(
            f"the command of service '{service.name}' has an open quote: {command}",
            hint='close the quote, or write \\" for the character itself',
            place=place,
        ) from error
    if not found or not found[0]:
        raise ServiceCommandError(
            f"the command of service '{service.name}' names no program: {command}",
            hint="the first word is the path of a program",
            place=place,
        )
    return found


def all_services(view: SystemView, everything: Contribution) -> dict[str, Service]:
    """The services that parts contribute, but for what is not there to depend on, and the configured ones."""
    own = view.config.services
    names = own.keys() | {service.name for service in everything.services}
    contributed = {
        service.name: replace(service, depends=tuple(each for each in service.depends if each in names))
        for service in everything.services
        if service.name not in own
    }
    return {**contributed, **own}


def predecessors(services: Mapping[str, Service], name: str) -> tuple[str, ...]:
    """The services that ``name`` starts after, whether they fail or not: the firewall, unless that needs ``name``."""
    if "firewall" not in services:
        return ()
    needed, pending = {"firewall"}, ["firewall"]
    while pending:
        pending += [each for each in services[pending.pop()].depends if each in services and each not in needed]
        needed.update(pending)
    return () if name in needed or "firewall" in services[name].depends else ("firewall",)


def _dinit(view: SystemView, services: dict[str, Service]) -> Iterator[Entry]:
    early = ("early",) if view.init == "dinit" and "early" not in services else ()
    for name, service in services.items():
        env_file = f"/etc/dinit.d/env/{name}"
        unit = render(
            "dinit-service.j2",
            service=service,
            restart=RESTART.get(service.restart, "no"),
            command=dinit_command(words(service, service.command, view)) if service.command else "",
            stop_command=dinit_command(words(service, service.stop_command, view)) if service.stop_command else "",
            needs=(*early, *service.depends),
            predecessors=predecessors(services, name),
            env_file=env_file,
        )
        yield Entry(f"etc/dinit.d/{name}", text=unit)
        if service.env:
            variables = "".join(f"{key}={value}\n" for key, value in sorted(service.env.items()))
            yield Entry(env_file.lstrip("/"), text=variables)
    if "boot" not in services:
        wanted = [*services]
        if view.init == "dinit":
            wanted += [f"terminal-{view.platform.console}", "terminal-tty1"]
        unit = "type = internal\n" + "".join(f"waits-for: {name}\n" for name in wanted)
        yield Entry("etc/dinit.d/boot", text=unit)


def _shell(service: Service, command: str | None, view: SystemView) -> str:
    return shell(words(service, command, view)) if command else ""


def _runsv(view: SystemView, service: Service, after: tuple[str, ...]) -> Iterator[Entry]:
    directory = f"{DIRECTORY}/{service.name}"
    state, asked = f"/run/service/{service.name}", f"/run/service/.{service.name}"
    values: dict[str, object] = {
        "service": service,
        "predecessors": after,
        "state": state,
        "asked": asked,
        "pipe": f"{asked}.log",
        "directory": f"/{directory}",
        "patience": service.start_timeout or PATIENCE,
        "command": _shell(service, service.command, view),
        "stop_command": _shell(service, service.stop_command, view),
        "as_user": f"chpst -u {service.user} " if service.user and service.user != "root" else "",
        "log_directory": (service.log_file or "").rpartition("/")[0] or "/",
    }
    yield Entry(f"{directory}/run", text=render("run.j2", **values), mode=0o755)
    yield Entry(f"{directory}/finish", text=render("finish.j2", **values), mode=0o755)
    check = f'#!/bin/sh\n# Whether it is up, for sv.\n[ "$(cat {shell(state)} 2>/dev/null)" = up ]\n'
    yield Entry(f"{directory}/check", text=check, mode=0o755)
    # runsv runs this before it stops the service for somebody, and finish then leaves open what comes next.
    term = f"#!/bin/sh\ntouch {shell(asked)}\nexit 1\n"
    yield Entry(f"{directory}/control/t", text=term, mode=0o755)
    # runsv keeps its state there, and /usr may be read-only.
    yield Entry(f"{directory}/supervise", target=f"/run/supervise/{service.name}")


def services(view: SystemView) -> Contribution:
    """The programs that the configured services run."""
    programs = []
    for name, service in view.config.services.items():
        for key, command in (("command", service.command), ("stop_command", service.stop_command)):
            program = (command or "").lstrip().partition(" ")[0]
            if command and service.type != "internal" and not set(program) & set("\\\"'$"):
                programs.append(Program(program, f"dinit_services.{name}.{key}"))
    return Contribution(programs=tuple(programs))


def units(view: SystemView, everything: Contribution) -> Iterator[Entry]:
    """The services of all parts; raises together what is wrong with any of them."""
    found = all_services(view, everything)
    wrong: list[NexisError] = []
    for service in found.values():
        for command in filter(None, (service.command, service.stop_command)):
            try:
                words(service, command, view)
            except NexisError as error:
                wrong.append(error)
    raise_together(wrong)
    yield from _dinit(view, found)
    if view.init == "busybox":
        yield Entry(DIRECTORY)
        yield Entry("var/service", target=f"../{DIRECTORY}")
        for name in ("keeper", "limit"):
            yield Entry(f"usr/libexec/nexis/{name}", text=text(name), mode=0o755)
        yield Entry("usr/libexec/nexis/wait-for", text=text("wait-for"))
        for service in found.values():
            yield from _runsv(view, service, predecessors(found, service.name))
