"""A company's own authority, a proxy, and a .netrc that must never speak for us."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cprqueue import config, errors
from cprqueue.clients.transport import Transport
from tests.certificates import make_certificates

HOST = "rm.example.test"
OURS = "Bearer ours"
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        # Set before it is deleted: so whatever a test brings in is gone after it.
        for spelled in (name, name.lower()):
            monkeypatch.setenv(spelled, "")
            monkeypatch.delenv(spelled)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an authority of our own and a certificate by it; return their directory."""
    return make_certificates(tmp_path_factory.mktemp("certificates"), HOST, "localhost")


class Echo(BaseHTTPRequestHandler):
    """Answers with the Authorization that arrived."""

    def do_GET(self) -> None:
        body = self.headers.get("Authorization", "none").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
        """Say nothing."""


class Proxy(Echo):
    """Connects to ``target`` whoever is asked for, and notes who that was."""

    target: int
    asked: list[str]

    def do_CONNECT(self) -> None:
        self.asked.append(f"{self.path} {self.headers.get('Proxy-Authorization', '')}".strip())
        if not self.target:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", self.target)) as other:
            back = threading.Thread(target=_pass_on, args=(other, self.connection))
            back.start()
            _pass_on(self.connection, other)
            back.join()
        self.close_connection = True


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # a client that refuses the certificate hangs up on both
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def serving(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def secure(authority: Path) -> Iterator[int]:
    """Run a server that has the certificate; give its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, suppress_ragged_eofs=True)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # refused certificates are meant
    for running in serving(server):
        yield running.server_port


@pytest.fixture
def proxy(secure: int) -> Iterator[tuple[int, type[Proxy]]]:
    handler = type("ThisProxy", (Proxy,), {"target": secure, "asked": []})
    for running in serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)):
        yield running.server_port, handler


def get(url: str, headers: dict[str, str] | None = None) -> str:
    transport = Transport("RestorationManager", url)
    try:
        return transport.request("GET", "/api/Jobs", headers=headers).body.decode()
    finally:
        transport.close()


Set = Callable[[str, str], None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Set:
    return monkeypatch.setenv


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_company_s_own_authority_is_trusted_where_it_is_named(
    secure: int, authority: Path, put: Set, name: str
) -> None:
    url = f"https://127.0.0.1:{secure}"
    with pytest.raises(errors.ServiceUnreachable, match=r"authority in REQUESTS_CA_BUNDLE$"):
        get(url)
    put(name, str(authority / "ca.pem"))
    assert get(url, {"Authorization": OURS}) == OURS


def test_a_certificate_for_another_host_is_refused(
    proxy: tuple[int, type[Proxy]], authority: Path, put: Set
) -> None:
    put("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    put("HTTPS_PROXY", f"http://127.0.0.1:{proxy[0]}")
    with pytest.raises(
        errors.ServiceUnreachable, match=r"for this host, or not now \(Hostname mismatch"
    ):
        get("https://other.example.test")


def test_an_authority_that_is_not_there_is_one_line(put: Set, tmp_path: Path) -> None:
    put("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(errors.SettingsError, match=r"^REQUESTS_CA_BUNDLE is .*: there is no such"):
        get("https://127.0.0.1:1")


def test_a_file_that_holds_no_certificate_is_one_line(
    put: Set, tmp_path: Path, secure: int
) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    put("REQUESTS_CA_BUNDLE", str(tmp_path / "empty.pem"))
    with pytest.raises(errors.CprqueueError, match=r"^[^\n]*$"):
        get(f"https://127.0.0.1:{secure}")


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_by_its_usual_variable(
    proxy: tuple[int, type[Proxy]], authority: Path, put: Set, name: str
) -> None:
    put("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    put(name, f"http://user:pass@127.0.0.1:{proxy[0]}")
    assert get(f"https://{HOST}", {"Authorization": OURS}) == OURS
    assert proxy[1].asked == [f"{HOST}:443 Basic dXNlcjpwYXNz"]


def test_this_machine_and_those_in_no_proxy_are_reached_without_it(
    proxy: tuple[int, type[Proxy]], secure: int, authority: Path, put: Set
) -> None:
    put("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    put("HTTPS_PROXY", f"http://127.0.0.1:{proxy[0]}")
    put("NO_PROXY", "example.test")
    assert get(f"https://localhost:{secure}") == "none"
    with pytest.raises(errors.ServiceUnreachable):
        get(f"https://{HOST}")
    assert proxy[1].asked == []


@pytest.mark.parametrize("there", [True, False])
def test_a_proxy_that_refuses_or_is_not_there_is_one_line_without_its_password(
    proxy: tuple[int, type[Proxy]], put: Set, there: bool
) -> None:
    proxy[1].target = 0
    put("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy[0] if there else 1}")
    with pytest.raises(errors.ServiceUnreachable) as raised:
        get(f"https://{HOST}")
    assert str(raised.value) == (
        "RestorationManager: GET /api/Jobs: "
        "the proxy (HTTPS_PROXY) is not there, or refuses to connect us"
    )


@pytest.mark.parametrize("ours", [OURS, None])
def test_a_netrc_never_speaks_for_us(
    secure: int, authority: Path, put: Set, tmp_path: Path, ours: str | None
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login theirs password theirs\ndefault login x password y\n")
    netrc.chmod(0o600)
    put("HOME", str(tmp_path))
    put("NETRC", str(netrc))
    put("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    headers = {"Authorization": ours} if ours else {}
    assert get(f"https://127.0.0.1:{secure}", headers) == (ours or "none")


def test_what_stands_in_env_counts_as_if_it_stood_in_the_environment(
    proxy: tuple[int, type[Proxy]], authority: Path, put: Set, tmp_path: Path
) -> None:
    put("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    (tmp_path / ".env").write_text(
        f"REQUESTS_CA_BUNDLE=/nowhere\nHTTPS_PROXY=http://127.0.0.1:{proxy[0]}\n"
    )
    config.environment(tmp_path)
    assert get(f"https://{HOST}", {"Authorization": OURS}) == OURS
    assert proxy[1].asked == [f"{HOST}:443"]
