"""Passwords of the board's users: scrypt, with what OWASP asks of it in 32 MB of memory."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cprqueue.settings.web import KEY_BYTES, SALT_BYTES, Hash

LOG_N, R, P = 15, 8, 3
SHORTEST, LONGEST = 10, 200


def hashed(password: str, *, log_n: int = LOG_N) -> Hash:
    """Return a new hash of the password."""
    empty = Hash(log_n=log_n, r=R, p=P, salt=secrets.token_bytes(SALT_BYTES), key=bytes(KEY_BYTES))
    return Hash(log_n=log_n, r=R, p=P, salt=empty.salt, key=_key(password, empty))


def is_right(password: str, known: Hash) -> bool:
    """Tell whether it is the password; takes a tenth of a second or more, whatever it is."""
    return hmac.compare_digest(_key(password, known), known.key)


def _key(password: str, made: Hash) -> bytes:
    n = 1 << made.log_n
    memory = 128 * made.r * (n + made.p + 2)
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        data, salt=made.salt, n=n, r=made.r, p=made.p, maxmem=2 * memory, dklen=KEY_BYTES
    )
