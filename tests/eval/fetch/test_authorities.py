"""Certificates: a server's is trusted if the authorities of the environment say so, and not else."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from nexis_eval.fetch.client import FetchError
from nexis_eval.fetch.url import fetch
from nexis_eval.graph.derivation import Fetch
from nexis_eval.mirrors import Mirrors
from tests.eval.fetch.servers import Site

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: no certificate")


def test_authorities_of_the_environment(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True, do_handshake_on_connect=False)
    site.page("/x", b"x")
    source = Fetch((f"https://127.0.0.1:{site.port}/x",), "sha256", hashlib.sha256(b"x").hexdigest(), "x")
    (tmp_path / "out").mkdir()
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(FetchError, match="the server's certificate is not trusted"):
        asyncio.run(fetch(source, tmp_path / "out", mirrors=Mirrors({})))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert asyncio.run(fetch(source, tmp_path / "out", mirrors=Mirrors({}))).read_bytes() == b"x"
