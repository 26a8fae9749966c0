"""Pure: why a request got no answer, in plain words, without its URL, whose query may hold secrets.

The texts of requests' own errors show it.
"""

from __future__ import annotations

import re

import requests
from urllib3.exceptions import (
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)

NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH")
OLD_TLS = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS", "HANDSHAKE_FAILURE")


def reason(error: Exception, read_seconds: float, connect_seconds: float) -> str:
    """Say what happened."""
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {connect_seconds:g} s"
    if isinstance(error, requests.Timeout):
        return f"no answer within {read_seconds:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return _insecure(str(error))
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy (HTTPS_PROXY) is not there, or refuses to connect us"
    if isinstance(error, (requests.exceptions.InvalidURL, LocationValueError)):
        return "its address, or that of the proxy (HTTPS_PROXY), cannot be read"
    if isinstance(error, requests.exceptions.InvalidHeader):
        return NO_HTTP
    if isinstance(error, requests.ConnectionError):
        return _unconnected(error)
    return type(error).__name__


NO_HTTP = "what answers there speaks no HTTP that can be understood"


def _unconnected(error: requests.ConnectionError) -> str:
    found = error.args[0] if error.args else error
    found = getattr(found, "reason", found)
    if isinstance(found, NameResolutionError):
        return "its name is not found"
    if isinstance(found, NewConnectionError):
        return f"no connection ({getattr(found.__cause__, 'strerror', None) or 'refused'})"
    inner = found.args[-1] if isinstance(found, ProtocolError) and found.args else found
    # (A connection that is closed is an HTTPException too.)
    return "the connection was closed" if isinstance(inner, OSError) else NO_HTTP


def _insecure(text: str) -> str:
    if "self-signed" in text or "self signed" in text or "local issuer" in text:
        return (
            "its certificate is signed by an authority that is not known here: name the file "
            "of your company's authority in REQUESTS_CA_BUNDLE"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        found = re.search(r"verify failed: ([^(]*[^( ])", text)  # Python 3.13 has more of them
        shown = f" ({found[1]})" if found else ""
        return f"its certificate is not valid for this host, or not now{shown}"
    if any(word in text for word in NOT_TLS):
        return "what answers there is not encrypted: is host and port right?"
    if any(word in text for word in OLD_TLS):
        return "it offers no encryption that is safe today: TLS 1.2 is the oldest"
    return "the secure connection failed (certificate?)"
