"""``[dinit_services.NAME]``: dinit's service files always, and the same services for busybox's ``runsv``.

dinit's format: dinit-service(5). runsv's: https://smarden.org/runit/runsv.8. What a system part needs running (network,
firewall, log rotation) is a service like any other, which a service of the same name in the configuration replaces.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nexis_eval.config.errors import raise_together
from nexis_eval.config.model import Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.context import System
from nexis_eval.system.firewall import firewall_service
from nexis_eval.system.logging import rotation_service
from nexis_eval.system.network import network_service
from nexis_eval.system.templates import render
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError

DIRECTORY = "etc/sv"
PATIENCE = 60
"""Seconds to wait for a service that is needed, before asking for it again."""
RESTART = {"true": "yes", "false": "no", "on-failure": "on-failure"}


class ServiceCommandError(NexisError):
    """The command of a service cannot be taken apart into words.

    As in dinit-service(5): words are separated by blanks, ``"`` quotes, ``\\`` takes the next character as it is.
    """

    code = "E0420"
    exit_code = 2


def words(service: Service, command: str, system: System) -> list[str]:
    """``command`` as dinit takes it apart; raises ``ServiceCommandError``."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.quotes = '"'
    try:
        return list(lexer)
    except ValueError as error:
        raise ServiceCommandError(
            f"the command of service '{service.name}' has an open quote: {command}",
            hint='close the quote, or write \\" for the character itself',
            place=system.config.place(("dinit_services", service.name, "command")),
        ) from error


def all_services(system: System) -> dict[str, Service]:
    """The configured services and those that other settings bring."""
    implied = (network_service(system), firewall_service(system), rotation_service(system))
    return {**{service.name: service for service in implied if service is not None}, **system.config.services}


def _dinit(system: System, services: dict[str, Service]) -> Iterator[Entry]:
    early = ("early",) if system.init == "dinit" and "early" not in services else ()
    for name, service in services.items():
        env_file = f"/etc/dinit.d/env/{name}"
        text = render(
            "dinit-service.j2",
            service=service,
            restart=RESTART.get(service.restart, "no"),
            needs=(*early, *service.depends),
            env_file=env_file,
        )
        yield Entry(f"etc/dinit.d/{name}", text=text)
        if service.env:
            variables = "".join(f"{key}={value}\n" for key, value in sorted(service.env.items()))
            yield Entry(env_file.lstrip("/"), text=variables)
    if "boot" not in services:
        wanted = [*services]
        if system.init == "dinit":
            wanted += [f"terminal-{system.platform.console}", "terminal-tty1"]
        text = "type = internal\n" + "".join(f"waits-for: {name}\n" for name in wanted)
        yield Entry("etc/dinit.d/boot", text=text)


def _shell(service: Service, command: str | None, system: System) -> str:
    return shlex.join(words(service, command, system)) if command else ""


def _runsv(system: System, service: Service) -> Iterator[Entry]:
    directory = f"{DIRECTORY}/{service.name}"
    values: dict[str, object] = {
        "service": service,
        "started": f"/run/service/{service.name}",
        "directory": f"/{directory}",
        "patience": service.start_timeout or PATIENCE,
        "limit": f"timeout {service.start_timeout} " if service.start_timeout else "",
        "stop_limit": f"timeout {service.stop_timeout} " if service.stop_timeout else "",
        "command": _shell(service, service.command, system),
        "stop_command": _shell(service, service.stop_command, system),
        "as_user": f"chpst -u {service.user} " if service.user and service.user != "root" else "",
        "log_directory": (service.log_file or "").rpartition("/")[0] or "/",
    }
    yield Entry(f"{directory}/run", text=render("run.j2", **values), mode=0o755)
    # A failed dependency is tried again at once by runsv; everything else that ends does as the configuration says.
    yield Entry(f"{directory}/finish", text=render("finish.j2", **values), mode=0o755)
    if service.type != "process":
        text = f"#!/bin/sh\n# Whether it is up, for those that wait for it.\ntest -e /run/service/{service.name}\n"
        yield Entry(f"{directory}/check", text=text, mode=0o755)
    # runsv keeps its state there, and /etc may be read-only.
    yield Entry(f"{directory}/supervise", target=f"/run/supervise/{service.name}")


def services(system: System) -> DerivationId:
    """The services as a part; raises together what is wrong with any of them."""
    found = all_services(system)
    entries = list(_dinit(system, found))
    if system.init == "busybox":
        entries += [Entry(DIRECTORY), Entry("var/service", target="../etc/sv")]
        wrong: list[NexisError] = []
        for service in found.values():
            try:
                entries.extend(_runsv(system, service))
            except NexisError as error:
                wrong.append(error)
        raise_together(wrong)
    return system.files("system-services", entries)
