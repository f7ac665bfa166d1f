"""The accounts that need no declaration: those of every system, and those that packages of Debian are known to use.

A file or a service that names one of the latter makes it, as a system account that nobody can log in to. Any other name
has to be declared, or a typing error would make an account.
"""

from __future__ import annotations

from nexis_eval.config.model import User

GROUPS = {
    "root": 0, "daemon": 1, "bin": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "lp": 7, "mail": 8, "news": 9,
    "uucp": 10, "man": 12, "proxy": 13, "kmem": 15, "dialout": 20, "fax": 21, "voice": 22, "cdrom": 24, "floppy": 25,
    "tape": 26, "sudo": 27, "audio": 29, "dip": 30, "www-data": 33, "backup": 34, "operator": 37, "src": 40,
    "shadow": 42, "utmp": 43, "video": 44, "plugdev": 46, "staff": 50, "games": 60, "users": 100, "nogroup": 65534,
}  # fmt: skip
"""Groups that every system has; the numbers are those of Debian's base-passwd, whose packages may be unpacked."""


USERS = ("root", "daemon", "bin", "nobody")
"""Users that every system has."""
_SERVICES = """
_apt _chrony _rpc avahi backup bind bluetooth chrony clamav colord dhcpcd dnsmasq dovecot dovenull epmd ftp geoclue
git haproxy http icecast2 influxdb input irc jenkins kvm ldap lightdm list lpadmin memcache messagebus minidlna
mongodb mosquitto mpd munin mysql nagios named netdata netdev nginx ntp ntpsec nut opendkim openldap pdns polkitd
postdrop postfix postgres prometheus pulse pulse-access quagga rabbitmq redis render rtkit saned scanner sddm sgx snmp
speech-dispatcher ssh sshd ssl-cert sssd statd stunnel4 suricata systemd-journal systemd-network systemd-resolve
systemd-timesync tcpdump tftp tomcat tss unbound usbmux uuidd varnish vnstat wheel wireshark www-data xrdp zabbix
"""
SERVICES = frozenset(_SERVICES.split())
"""Users, and groups of the same names, of services in packages of Debian, and groups for access to devices."""
_OF_THE_SYSTEM = (
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib64",
    "proc",
    "run",
    "sbin",
    "sys",
    "usr",
    "var/lock",
    "var/run",
)
"""Directories that no home lies in."""
_OF_MANY = ("", "home", "mnt", "opt", "srv", "tmp", "var", "var/cache", "var/lib", "var/log", "var/spool", "var/tmp")
"""Directories that are no home, but may hold some."""


def may_be_a_home(path: str) -> bool:
    """Whether a directory can be given to one user, who may then do in it what they like, and nobody else look into it.

    ``/etc`` given to somebody is a system that does not start, or is theirs.
    """
    inside = path.strip("/")
    return inside not in _OF_MANY and not any(f"{inside}/".startswith(f"{each}/") for each in _OF_THE_SYSTEM)


def home_of(user: User) -> str:
    """The home directory of a user."""
    if user.home:
        return user.home
    if user.name == "root":
        return "/root"
    return "/" if user.system else f"/home/{user.name}"
