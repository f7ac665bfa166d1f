"""Signatures of records by OpenSSH keys: ``ssh-keygen -Y``, which is everywhere and which people have keys for."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nexis_store.errors import NexisError

NAMESPACE = "nexis-record"
"""Keeps a signature of a record from being taken for a signature of anything else (ssh-keygen(1))."""


ARMOUR = b"-----BEGIN SSH SIGNATURE-----"
"""What ssh-keygen's signatures begin with (OpenSSH's PROTOCOL.sshsig)."""


class SignatureError(NexisError):
    """A signature could not be made, or does not hold.

    ``ssh-keygen`` signs and verifies. The signature lies beside the file as ``FILE.sig``, and ``--signers`` names a
    file with lines ``NAME KEY`` (``ssh-keygen(1)``, ALLOWED SIGNERS). A file that was changed after signing never
    verifies.
    """

    code = "R0004"
    exit_code = 2


def _run(arguments: list[str], stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", "-Y", *arguments], input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise SignatureError("ssh-keygen is not installed", hint="install OpenSSH's client") from None


def signature_of(path: Path) -> Path:
    """Where the signature of a file lies: beside it."""
    return path.with_name(path.name + ".sig")


def _told(result: subprocess.CompletedProcess[bytes]) -> str:
    return "; ".join(filter(None, map(str.strip, result.stderr.decode(errors="replace").splitlines())))


def sign(path: Path, key: Path) -> Path:
    """Sign a file with a private key (or a public one whose private half the agent holds); returns the signature."""
    signature_of(path).unlink(missing_ok=True)
    result = _run(["sign", "-q", "-f", str(key), "-n", NAMESPACE, str(path)])
    if result.returncode != 0:
        raise SignatureError(
            f"{path} could not be signed: {_told(result)}", hint="--sign takes an OpenSSH key: 'ssh-keygen -t ed25519'"
        )
    return signature_of(path)


def verify(path: Path, allowed_signers: Path, name: str) -> str:
    """Check the signature beside a file, called ``name`` in errors; returns the signer. Raises ``SignatureError``.

    ``allowed_signers`` is a file as ssh-keygen(1) describes it: a name and a public key a line.
    """
    signature = signature_of(path)
    if not allowed_signers.is_file():
        raise SignatureError(
            f"there is no file {allowed_signers} that says who may sign",
            hint="each line of it is a name and a public key: ann@example.org ssh-ed25519 AAAA…",
        )
    if not signature.exists():
        raise SignatureError(
            f"{name} is not signed",
            hint=f"'{signature.name}' should lie beside it; 'nexis-eval repro record --sign KEY' makes it",
        )
    if not signature.read_bytes().startswith(ARMOUR):
        raise SignatureError(f"{name}.sig is no signature", hint="get it again from where the record was made")
    found = _run(["find-principals", "-s", str(signature), "-f", str(allowed_signers)])
    if found.returncode != 0:
        reason = _told(found)
        raise SignatureError(
            f"{name}.sig is by nobody in {allowed_signers}" + (f": {reason}" if reason else ""),
            hint="if you trust whoever signed it, add a line with their name and public key there",
        )
    signer = found.stdout.decode().split("\n")[0].strip()
    data = path.read_bytes()
    arguments = ["verify", "-f", str(allowed_signers), "-I", signer, "-n", NAMESPACE, "-s", str(signature)]
    result = _run(arguments, stdin=data)
    if result.returncode != 0:
        raise SignatureError(
            f"the signature of {name} does not hold: it was changed after {signer} signed it",
            hint="do not trust it; get it again, with its signature, from where it was made",
        )
    return signer
