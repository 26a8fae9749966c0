"""The secret that signs the board's cookies: a file in CPR_VAR_DIR for this user alone."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from cprqueue import private_files
from cprqueue.errors import SettingsError

NAME = "web-secret"
BYTES = 32


class Signer:
    """Signs texts. Each purpose has signatures of its own: none stands for another."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, purpose: str, *texts: str) -> str:
        """Return the signature of these texts, in order."""
        data = b"".join(_measured(text) for text in (purpose, *texts))
        return hmac.new(self._secret, data, hashlib.sha256).hexdigest()

    def is_right(self, signature: str, purpose: str, *texts: str) -> bool:
        """Tell whether ``sign`` gave this signature; takes as long for a wrong one."""
        found = signature.encode("utf-8", "replace")
        return hmac.compare_digest(found, self.sign(purpose, *texts).encode())


def _measured(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "big") + data


def signer(var_dir: Path) -> Signer:
    """Return what signs with the secret of this directory, made at the first call.

    Whoever deletes the file ends every session. Raises SettingsError where it cannot be used.
    """
    path = var_dir / NAME
    try:
        if not path.exists():
            _write(path)
        private_files.make_file(path)  # narrows one that others may read
        found = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be used: {error.strerror}") from None
    if len(found) != BYTES:
        raise SettingsError(f"{path} is not what cprqueue wrote there: delete it, and log in again")
    return Signer(found)


def _write(path: Path) -> None:
    """Write a new secret whole, or not at all; of two who write at once the first one's stays."""
    trial = path.with_name(f"{NAME}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(secrets.token_bytes(BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(trial)
    finally:
        trial.unlink()
