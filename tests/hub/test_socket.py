"""Sockets: the standard library's, seen from outside, and everybody else runs while one waits."""

from __future__ import annotations

import errno
import socket as standard
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greentrace.hub import (
    Hub,
    IOClosed,
    Timeout,
    create_connection,
    create_server,
    listen,
    sleep,
    socket,
    socketpair,
    spawn,
    tpool,
    use_hub,
)

from .support import FakeHub, started, turns

Pair = tuple[socket.socket, socket.socket]
pytestmark = pytest.mark.usefixtures("real_hub")


@pytest.fixture
def pair(real_hub: Hub) -> Iterator[Pair]:
    left, right = socketpair()
    yield left, right
    left.close()
    right.close()


@pytest.fixture
def server(real_hub: Hub) -> Iterator[socket.socket]:
    made = listen(("127.0.0.1", 0))
    yield made
    made.close()


def test_others_run_while_one_waits_for_data(pair: Pair) -> None:
    left, right = pair
    reading = started(left.recv, 100)
    order = ["others"]
    right.sendall(b"hello")
    assert (reading.wait(), order) == (b"hello", ["others"])


def test_a_connection_talks_both_ways_and_ends_with_nothing(server: socket.socket) -> None:
    def answer() -> None:
        connection, address = server.accept()
        assert address[0] == "127.0.0.1"
        while data := connection.recv(100):
            connection.sendall(data.upper())
        connection.close()

    answering = spawn(answer)
    client = create_connection(server.getsockname())
    for word in (b"one", b"two"):
        client.sendall(word)
        assert client.recv(100) == word.upper()
    client.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b""
    client.close()
    answering.wait()


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_sendall_sends_everything_however_slowly_it_is_read(pair: Pair, size: int) -> None:
    left, right = pair
    sending = spawn(lambda: (left.sendall(bytes(size)), left.shutdown(socket.SHUT_WR)))
    got = 0
    while data := right.recv(1 << 16):
        got += len(data)
        sleep(0)
    sending.wait()
    assert got == size


def test_every_way_of_reading_and_writing_waits(pair: Pair) -> None:
    left, right = pair
    space = bytearray(10)
    for read, expected in [
        (lambda: left.recv(10), b"12345"),
        (lambda: (left.recv_into(space), bytes(space[:5]))[1], b"12345"),
        (lambda: left.recvfrom(10)[0], b"12345"),
        (lambda: (left.recvfrom_into(space), bytes(space[:5]))[1], b"12345"),
        (lambda: left.recvmsg(10)[0], b"12345"),
        (lambda: (left.recvmsg_into([space]), bytes(space[:5]))[1], b"12345"),
    ]:
        space[:] = bytes(10)
        reading = started(read)
        assert not reading.dead
        assert right.sendmsg([b"123", b"45"]) == 5
        assert reading.wait() == expected


def test_datagrams_go_to_names_as_well(real_hub: Hub) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as left, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as right:
        left.bind(("127.0.0.1", 0))
        reading = started(left.recvfrom, 100)
        right.sendto(b"hello", ("localhost", left.getsockname()[1]))
        assert reading.wait()[0] == b"hello"


# ---- timeouts


def test_a_timeout_ends_every_kind_of_wait_as_the_standard_library_ends_it(pair: Pair, server: socket.socket) -> None:
    left, _ = pair
    left.settimeout(0.01)
    server.settimeout(0.01)
    for wait in (lambda: left.recv(1), lambda: left.sendall(bytes(10_000_000)), server.accept):
        with pytest.raises(TimeoutError, match="timed out"):
            wait()


def test_the_timeout_of_sendall_is_for_the_whole_of_it() -> None:
    hub = FakeHub()
    use_hub(hub)
    left, right = socketpair()
    left.settimeout(3)

    def sip() -> None:
        while True:
            sleep(1)
            right.recv(1 << 14)

    sipping = spawn(sip)
    with pytest.raises(TimeoutError):
        left.sendall(bytes(10_000_000))
    assert 3 <= hub.elapsed <= 4
    sipping.kill()
    left.close()
    right.close()


def test_a_socket_that_does_not_block_says_that_it_would(pair: Pair, server: socket.socket) -> None:
    left, _ = pair
    left.setblocking(False)
    assert (left.gettimeout(), left.getblocking()) == (0.0, False)
    with pytest.raises(BlockingIOError):
        left.recv(1)
    server.settimeout(0)
    with pytest.raises(BlockingIOError):
        server.accept()
    with socket.socket() as client:
        client.setblocking(False)
        assert client.connect_ex(server.getsockname()) in (0, errno.EINPROGRESS)


def test_a_timeout_below_zero_is_refused_and_the_default_is_the_standard_librarys(pair: Pair) -> None:
    with pytest.raises(ValueError):
        pair[0].settimeout(-1)
    standard.setdefaulttimeout(7)
    try:
        with socket.socket() as made:
            assert made.gettimeout() == made.timeout == 7
    finally:
        standard.setdefaulttimeout(None)


# ---- connecting


def test_whoever_connects_to_nobody_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
        with pytest.raises(ConnectionRefusedError):
            create_connection(address)
        with socket.socket() as client:
            assert client.connect_ex(address) == errno.ECONNREFUSED
        with pytest.raises(ExceptionGroup):
            create_connection(address, all_errors=True)


def test_a_connection_that_nobody_accepts_times_out(real_hub: Hub) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []

        def fill() -> None:
            for _ in range(10):
                waiting.append(create_connection(full.getsockname(), timeout=0.05))

        with pytest.raises(TimeoutError):
            fill()
        with socket.socket() as client:
            client.settimeout(0.01)
            assert client.connect_ex(full.getsockname()) == errno.EAGAIN
        for each in waiting:
            each.close()


def test_a_name_is_connected_to_at_whichever_of_its_addresses_answers(server: socket.socket) -> None:
    client = create_connection(("localhost", server.getsockname()[1]), timeout=10, source_address=("127.0.0.1", 0))
    assert client.getpeername() == server.getsockname()
    client.close()


def test_create_server_and_unix_sockets_are_cooperative_too(real_hub: Hub, tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as made, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "s"))
        local.listen()
        for each, family in ((made, socket.AF_INET), (local, socket.AF_UNIX)):
            accepting = started(each.accept)
            client = socket.socket(family)
            client.connect(each.getsockname())
            connection, _ = accepting.wait()
            assert isinstance(connection, socket.socket)
            connection.close()
            client.close()


# ---- files, duplicates, ends


def test_makefile_reads_lines_and_writes_cooperatively(pair: Pair) -> None:
    left, right = pair
    with left.makefile("rb") as source, right.makefile("w", encoding="utf-8", newline="\n") as sink:
        reading = started(lambda: [source.readline(), source.readline(), source.read()])
        print("first", "ä", file=sink)
        sink.flush()
        turns()
        assert not reading.dead
        sink.write("second\nrest")
        sink.close()
        right.shutdown(socket.SHUT_WR)
        assert reading.wait() == ["first ä\n".encode(), b"second\n", b"rest"]


def test_a_file_keeps_the_socket_open_until_both_are_closed(real_hub: Hub) -> None:
    left, right = socketpair()
    source = left.makefile("rb")
    left.close()
    right.send(b"still here\n")
    assert source.readline() == b"still here\n"
    source.close()
    assert left.fileno() == -1
    right.close()


def test_sendfile_sends_a_file(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"abc" * 100_000)
    left, right = pair

    def send() -> None:
        with path.open("rb") as file:
            assert left.sendfile(file) == 300_000
        left.shutdown(socket.SHUT_WR)

    sending = spawn(send)
    assert b"".join(iter(lambda: right.recv(1 << 16), b"")) == path.read_bytes()
    sending.wait()


def test_a_duplicate_is_another_fd_of_the_same_connection(pair: Pair) -> None:
    left, right = pair
    twin = left.dup()
    third = socket.fromfd(left.fileno(), left.family, left.type)
    assert len({left.fileno(), twin.fileno(), third.fileno()}) == 3
    for each in (twin, third):
        reading = started(each.recv, 10)
        right.send(b"x")
        assert reading.wait() == b"x"
        each.close()


@pytest.mark.parametrize("end", [lambda s: s.close(), lambda s: standard.socket(fileno=s.detach()).close()])
def test_closing_or_detaching_a_socket_wakes_whoever_waits_for_it(real_hub: Hub, end: object) -> None:
    left, right = socketpair()
    reading = started(left.recv, 10)
    end(left)  # type: ignore[operator]
    with pytest.raises(IOClosed):
        reading.wait()
    with pytest.raises(OSError):
        left.recv(10)
    right.close()


def test_the_other_sides_reset_is_an_error_and_its_end_is_not(server: socket.socket) -> None:
    client = create_connection(server.getsockname())
    connection, _ = server.accept()
    reading = started(connection.recv, 10)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(ConnectionResetError):
        reading.wait()
    connection.close()


def test_a_timeout_object_ends_a_read_and_the_socket_can_be_used_on(pair: Pair) -> None:
    left, right = pair
    with Timeout(0.01, False) as timeout:
        left.recv(10)
    assert timeout.expired
    right.send(b"later")
    assert left.recv(10) == b"later"


def test_a_server_in_one_thread_serves_a_blocking_client_in_another(server: socket.socket) -> None:
    """The other side knows nothing of green threads."""
    heard: list[bytes] = []

    def client() -> None:
        with standard.create_connection(server.getsockname(), timeout=30) as plain:
            plain.sendall(b"hello")
            heard.append(plain.recv(100))

    thread = threading.Thread(target=client)
    thread.start()
    connection, _ = server.accept()
    connection.sendall(connection.recv(100)[::-1])
    tpool.execute(thread.join, 30)
    connection.close()
    assert heard == [b"olleh"]
