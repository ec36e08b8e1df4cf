"""TLS: a handshake, data and a farewell, with everybody else running meanwhile."""

from __future__ import annotations

import shutil
import ssl as standard
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greentrace.hub import Hub, Timeout, connect, listen, sleep, socket, socketpair, spawn, ssl, tpool, wrap_ssl

from .support import started

Files = tuple[str, str]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A certificate for localhost, signed by itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed here: there is no certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate, *subject]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


@pytest.fixture
def server(real_hub: Hub, files: Files) -> Iterator[Any]:
    """A TLS socket that listens; its context is the cooperative one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    made = context.wrap_socket(listen(("127.0.0.1", 0)), server_side=True)
    yield made
    made.close()


@pytest.fixture
def trusting(files: Files) -> standard.SSLContext:
    """A client's context that trusts that certificate and checks it."""
    return ssl.create_default_context(cafile=files[0])


def connected(server: Any, context: standard.SSLContext) -> tuple[Any, Any]:
    accepting = spawn(server.accept)
    client = context.wrap_socket(connect(server.getsockname()), server_hostname="localhost")
    return client, accepting.wait()[0]


def test_both_sides_talk_in_one_thread_and_the_certificate_is_checked(server: Any, trusting: standard.SSLContext) -> None:
    client, connection = connected(server, trusting)
    assert isinstance(client, ssl.SSLSocket)
    assert isinstance(connection, socket.socket)
    reading = started(connection.recv, 100)
    assert not reading.dead
    client.sendall(b"hello")
    assert reading.wait() == b"hello"
    # To read an answer is to read the session tickets before it: a socket that is closed over unread data resets the connection.
    connection.sendall(b"answer")
    assert client.recv(100) == b"answer"
    assert client.getpeercert()["subject"] == ((("commonName", "localhost"),),)
    client.close()
    assert connection.recv(100) == b""
    connection.close()


def test_a_stranger_is_not_trusted(server: Any) -> None:
    accepting = spawn(server.accept)
    plain = connect(server.getsockname())
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    with pytest.raises(ssl.SSLError):
        accepting.wait()


def test_much_data_goes_both_ways_at_once(server: Any, trusting: standard.SSLContext) -> None:
    client, connection = connected(server, trusting)
    size = 1_000_000

    def read_all(end: Any) -> int:
        got = 0
        while got < size:
            got += end.recv_into(bytearray(1 << 16))
        return got

    threads = [
        spawn(client.sendall, bytes(size)),
        spawn(read_all, client),
        spawn(connection.sendall, bytes(size)),
        spawn(read_all, connection),
    ]
    assert [each.wait() for each in threads] == [None, size, None, size]
    client.close()
    connection.close()


def test_makefile_reads_and_writes_through_tls(server: Any, trusting: standard.SSLContext) -> None:
    client, connection = connected(server, trusting)
    with client.makefile("rwb") as ours, connection.makefile("rwb") as theirs:
        reading = started(theirs.readline)
        ours.write(b"a line\n")
        ours.flush()
        assert reading.wait() == b"a line\n"
    client.close()
    connection.close()


def test_unwrap_says_goodbye_and_gives_the_naked_socket_back(server: Any, trusting: standard.SSLContext) -> None:
    client, connection = connected(server, trusting)
    farewell = spawn(connection.unwrap)
    naked = client.unwrap()
    other = farewell.wait()
    reading = started(naked.recv, 10)
    other.sendall(b"in clear")
    assert reading.wait() == b"in clear"
    naked.close()
    other.close()


def test_a_silent_other_side_holds_up_neither_the_others_nor_a_timeout(real_hub: Hub) -> None:
    pairs = [socketpair(), socketpair()]
    pairs[0][0].settimeout(0.02)
    with pytest.raises(TimeoutError):
        wrap_ssl(pairs[0][0])
    with Timeout(0.02, False) as timeout:
        wrap_ssl(pairs[1][0])
    assert timeout.expired
    for left, right in pairs:
        left.close()
        right.close()


def test_a_read_times_out_and_a_socket_that_does_not_block_says_what_it_wants(server: Any, trusting: standard.SSLContext) -> None:
    client, connection = connected(server, trusting)
    client.settimeout(0.02)
    with pytest.raises(TimeoutError):
        client.recv(10)
    client.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(10)
    client.close()
    connection.close()


def test_wrap_ssl_has_the_arguments_of_old(real_hub: Hub, files: Files) -> None:
    listener = wrap_ssl(listen(("127.0.0.1", 0)), certfile=files[0], keyfile=files[1], server_side=True)
    accepting = spawn(listener.accept)
    client = wrap_ssl(connect(listener.getsockname()), cert_reqs=ssl.CERT_REQUIRED, ca_certs=files[0])
    connection, _ = accepting.wait()
    client.sendall(b"x")
    assert connection.recv(1) == b"x"
    for each in (client, connection, listener):
        each.close()


def test_a_blocking_client_in_another_thread_understands_us(server: Any, files: Files) -> None:
    heard: list[bytes] = []

    def client() -> None:
        context = standard.create_default_context(cafile=files[0])
        import socket as plain

        with (
            plain.create_connection(server.getsockname(), timeout=30) as naked,
            context.wrap_socket(naked, server_hostname="localhost") as s,
        ):
            s.sendall(b"hello")
            heard.append(s.recv(100))

    thread = threading.Thread(target=client)
    thread.start()
    connection, _ = server.accept()
    connection.sendall(connection.recv(100)[::-1])
    tpool.execute(thread.join, 30)
    connection.close()
    assert heard == [b"olleh"]


def test_a_handshake_can_be_put_off(server: Any, trusting: standard.SSLContext) -> None:
    accepting = spawn(server.accept)
    client = trusting.wrap_socket(connect(server.getsockname()), server_hostname="localhost", do_handshake_on_connect=False)
    sleep(0)
    assert not accepting.dead
    shake: Callable[[], None] = client.do_handshake
    shake()
    accepting.wait()[0].close()
    client.close()
