"""Real clients: curl and wrk against the WSGI sample, on the built-in hub and beside it on the others."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.validate import validator

import pytest

import greentrace
from greentrace.samples import wsgi_server
from greentrace.samples.runtime import choose
from tests.conftest import GREENTRACE, SAMPLES

SERVER = str(SAMPLES / "wsgi_server.py")
Curl = Callable[..., str]


def serving(command: list[str]) -> Iterator[str]:
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        assert server.poll() is None, "the server ended"
    finally:
        server.terminate()
        server.wait(timeout=60)


@pytest.fixture(scope="module", params=["hub", "eventlet", "gevent"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a running server, on each runtime."""
    yield from serving([sys.executable, "-W", "ignore", SERVER, request.param, "--for", "0"])


@pytest.fixture
def curl(address: str) -> Curl:
    """Ask for paths with curl; returns what it prints."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed here")

    def ask(*words: str, data: bytes | None = None) -> str:
        urls = [address + word[1:] if word.startswith("/") else word for word in words]
        done = subprocess.run(["curl", "-sS", "--max-time", "30", *urls], capture_output=True, input=data, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    return ask


def wrk(address: str, *words: str) -> tuple[int, str]:
    """Load the server for two seconds; return how many requests were answered, and all that wrk said."""
    if not shutil.which("wrk"):
        pytest.skip("wrk is not installed here")
    done = subprocess.run(["wrk", "-t1", "-d2", *words, address], capture_output=True, text=True, timeout=60)
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found, done.stdout + done.stderr
    return int(found[1]), done.stdout


def raw(address: str, request: bytes) -> bytes:
    """Say anything; return everything that comes back."""
    url = urlsplit(address)
    assert url.hostname
    assert url.port
    with socket.create_connection((url.hostname, url.port), timeout=30) as plain:
        plain.sendall(request)
        plain.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: plain.recv(65536), b""))


def test_curl_gets_a_page_a_stream_and_a_slow_one(curl: Curl) -> None:
    assert curl("/") == "hello from /\n"
    assert curl("/stream") == "part 0\npart 1\npart 2\n"
    assert curl("/slow") == "hello from /slow\n"
    assert curl("/a%20b%C3%A4?x=1") == "hello from /a bä\n".encode().decode("latin-1").encode().decode("utf-8")


def test_curl_gets_back_what_it_posts_with_a_length_and_in_chunks(curl: Curl) -> None:
    body = b"0123456789" * 100_000
    assert curl("--data-binary", "@-", "/echo", data=body).encode() == body
    assert curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@-", "/echo", data=body).encode() == body
    assert curl("--data-binary", "", "/echo") == ""


def test_curl_keeps_one_connection_for_several_requests_and_http_1_0_does_not(curl: Curl) -> None:
    shown = ("-w", "[%{num_connects}]")
    assert re.findall(r"\[(\d)]", curl(*shown, "/", "/", "/stream", "/")) == ["1", "0", "0", "0"]
    assert re.findall(r"\[(\d)]", curl("-0", *shown, "/", "/")) == ["1", "1"]


def test_a_head_has_no_body_and_an_error_of_the_application_is_told(curl: Curl) -> None:
    head = curl("-I", "/")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "hello" not in head
    assert "Content-Length: 13" in head
    assert curl("-w", "%{http_code}", "/error").endswith("500 Internal Server Error\n500")
    assert curl("/") == "hello from /\n"


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n"]
)
def test_whoever_does_not_speak_http_is_told_so(address: str, request_: bytes) -> None:
    assert raw(address, request_).startswith(b"HTTP/1.1 400 ")


def test_requests_that_come_all_at_once_are_answered_in_order(address: str) -> None:
    answers = raw(address, b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(20)))
    assert re.findall(rb"hello from /(\d+)", answers) == [str(number).encode() for number in range(20)]


def test_wrk_is_answered_without_an_error(address: str) -> None:
    count, said = wrk(address, "-c50")
    assert count > 100
    assert "Socket errors" not in said
    assert "Non-2xx" not in said


def test_wrk_against_a_recorded_server_leaves_a_trace_without_a_finding(tmp_path: Path) -> None:
    trace = tmp_path / "server.gtrace"
    running = serving([*GREENTRACE, "record", "-q", "-o", str(trace), SERVER, "hub", "--for", "0"])
    count, said = wrk(next(running), "-c20")
    assert list(running) == []
    assert count > 100
    assert "Non-2xx" not in said
    with greentrace.open(trace) as opened:
        # Its own clients and those of wrk; each connection was a green thread.
        assert len([greenlet for greenlet in opened.greenlets if greenlet.label == "converse"]) >= wsgi_server.CLIENTS + 20
        assert [finding.lint for finding in opened.findings() if finding.lint in ("deadlock", "hub-exhausted", "error-in-hub")] == []


def test_the_server_keeps_to_the_wsgi_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard library's validator stands between server and application, and complains to whoever breaks the rules."""
    rt = choose("hub")
    monkeypatch.setattr(wsgi_server, "rt", rt, raising=False)
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    listener = rt.socket.create_server(("127.0.0.1", 0))
    server = rt.spawn(wsgi_server.serve, listener, validator(application))
    with warnings.catch_warnings(), rt.socket.create_connection(listener.getsockname()) as connection:
        warnings.simplefilter("error")
        connection.sendall(b"POST /x?q=1 HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nok")
    assert seen == ["q=1"]
    server.kill()
    listener.close()
