"""A certificate authority of a test's own, and a certificate by it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificates(directory: Path, *hosts: str) -> Path:
    """Make ``ca.pem``, ``cert.pem`` and ``key.pem`` for these hosts, and 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: certificates are not tested")
    names = ",".join([*(f"DNS:{host}" for host in hosts), "IP:127.0.0.1"])
    (directory / "names").write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    sign = "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem"
    usage = ("-addext", "keyUsage=critical,keyCertSign")  # Python 3.13 asks for these two
    authority = ("req", "-x509", *new_key, "-keyout", "ca.key", "-subj", "/CN=Ours", *usage)
    for words in (
        [*authority, "-out", "ca.pem"],
        ["req", *new_key, "-keyout", "key.pem", "-out", "request", "-subj", f"/CN={hosts[0]}"],
        [*sign.split(), "-extfile", "names"],
    ):
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)
    return directory
