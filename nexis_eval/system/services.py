"""``[dinit_services.NAME]``: dinit's service files always, and the same services for busybox's ``runsv``.

dinit's format: dinit-service(5). runsv's: http://smarden.org/runit/runsv.8.html
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nexis_eval.config.model import Service
from nexis_eval.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

DIRECTORY = "/etc/sv"


def dinit_file(service: Service) -> str:
    """The text of a dinit service description."""
    lines = [f"type = {service.type}"]
    pairs: list[tuple[str, object]] = [
        ("command", service.command),
        ("stop-command", service.stop_command),
        ("working-dir", service.working_directory),
        ("pid-file", service.pid_file),
        ("logfile", service.log_file),
        ("run-as", service.user),
        ("start-timeout", service.start_timeout),
        ("stop-timeout", service.stop_timeout),
    ]
    lines.extend(f"{key} = {value}" for key, value in pairs if value not in (None, ""))
    if service.type != "internal":
        lines.append(f"restart = {'yes' if service.restart == 'true' else service.restart.replace('false', 'no')}")
    if service.env:
        lines.append(f"env-file = /etc/dinit.d/{service.name}.env")
    lines.extend(f"depends-on = {name}" for name in service.depends)
    return "\n".join(lines) + "\n"


def _wait_for(service: Service) -> list[str]:
    """Wait until the services it depends on are up; runsv starts it anew if one is not."""
    return [f"sv check {DIRECTORY}/{name} >/dev/null || exit 1" for name in service.depends]


def _environment(service: Service) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in sorted(service.env.items())]


def run_script(service: Service) -> str:
    """The ``run`` script of a service for ``runsv``."""
    lines = ["#!/bin/sh", *_wait_for(service), *_environment(service), "exec 2>&1"]
    if service.working_directory:
        lines.append(f"cd {shlex.quote(service.working_directory)} || exit 1")
    command = service.command
    if service.user and service.user != "root":
        command = f"chpst -u {shlex.quote(service.user)} {command}"
    if service.type == "scripted":
        timeout = f"timeout {service.start_timeout} " if service.start_timeout else ""
        lines += [
            "# A scripted service is up once its command has succeeded.",
            f"{timeout}{command} || exit 1",
            "exec sleep 2147483647",
        ]
    else:
        lines.append(f"exec {command}")
    return "\n".join(lines) + "\n"


def finish_script(service: Service) -> str | None:
    """The ``finish`` script: what happens when the service ends; ``None`` where restarting is right."""
    lines = ["#!/bin/sh"]
    if service.stop_command:
        lines.append(service.stop_command)
    if service.restart == "false":
        lines.append(f"sv down {DIRECTORY}/{service.name}")
    elif service.restart == "on-failure":
        lines.append(f'[ "$1" = 0 ] && sv down {DIRECTORY}/{service.name}')
    else:
        lines.append("# Not more often than once a second.\nsleep 1")
    return "\n".join((*lines, "exit 0")) + "\n"


def _entries(services: dict[str, Service]) -> Iterator[Entry]:
    yield Entry("etc/sv")
    for name, service in services.items():
        yield Entry(f"etc/dinit.d/{name}", text=dinit_file(service))
        if service.env:
            env = "".join(f"{key}={value}\n" for key, value in sorted(service.env.items()))
            yield Entry(f"etc/dinit.d/{name}.env", text=env)
        if service.type == "internal":
            continue
        yield Entry(f"etc/sv/{name}/run", text=run_script(service), mode=0o755)
        finish = finish_script(service)
        if finish is not None:
            yield Entry(f"etc/sv/{name}/finish", text=finish, mode=0o755)
        if service.log_file:
            log = f"#!/bin/sh\nmkdir -p {shlex.quote(service.log_file.rpartition('/')[0] or '/')}\n"
            log += f"exec cat >>{shlex.quote(service.log_file)}\n"
            yield Entry(f"etc/sv/{name}/log/run", text=log, mode=0o755)
    boot = "type = internal\n" + "".join(f"waits-for = {name}\n" for name in services if name != "boot")
    if "boot" not in services:
        yield Entry("etc/dinit.d/boot", text=boot)


def services(system: System) -> DerivationId:
    """The services as a part."""
    return system.files("system-services", _entries(dict(system.config.services)))
