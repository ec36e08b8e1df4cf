"""Servers: a green thread a connection, a limit that holds, and an end that everybody hears of."""

from __future__ import annotations

from typing import Any

import pytest

from greentrace.hub import (
    Event,
    GreenletExit,
    Hub,
    Queue,
    StopServe,
    connect,
    create_connection,
    getcurrent,
    kill,
    listen,
    serve,
    sleep,
    socket,
    spawn,
)

pytestmark = pytest.mark.usefixtures("real_hub")


def echo(connection: Any, address: Any) -> None:
    while data := connection.recv(100):
        connection.sendall(data)


def ask(listener: Any, word: bytes) -> bytes:
    client = connect(listener.getsockname())
    client.sendall(word)
    answer = client.recv(100)
    client.close()
    return answer


def end(server: Any, listener: Any) -> None:
    server.kill()
    listener.close()


def test_each_connection_is_handled_and_closed_when_its_handler_returns() -> None:
    listener = listen(("127.0.0.1", 0))
    server = spawn(serve, listener, lambda connection, address: connection.sendall(b"bye"))
    for _ in range(3):
        client = connect(listener.getsockname())
        assert client.recv(100) == b"bye"
        assert client.recv(100) == b""
        client.close()
    end(server, listener)


def test_many_are_served_at_once() -> None:
    listener = listen(("127.0.0.1", 0))
    server = spawn(serve, listener, echo)
    clients = [connect(listener.getsockname()) for _ in range(50)]
    for number, client in enumerate(clients):
        client.sendall(str(number).encode())
    assert [client.recv(10) for client in reversed(clients)] == [str(number).encode() for number in reversed(range(50))]
    for client in clients:
        client.close()
    end(server, listener)


def test_no_more_are_handled_at_once_than_was_said() -> None:
    listener = listen(("127.0.0.1", 0))
    inside, most, gate = 0, 0, Event()

    def handle(connection: Any, address: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        gate.wait()
        connection.sendall(b"x")
        inside -= 1

    server = spawn(serve, listener, handle, 2)
    clients = [connect(listener.getsockname()) for _ in range(6)]
    while most < 2:
        sleep(0)
    gate.send()
    assert [client.recv(1) for client in clients] == [b"x"] * 6
    assert most == 2
    for client in clients:
        client.close()
    end(server, listener)


def test_an_exception_of_a_handler_ends_the_server_with_it() -> None:
    listener = listen(("127.0.0.1", 0))

    def handle(connection: Any, address: Any) -> None:
        raise ZeroDivisionError("on purpose")

    server = spawn(serve, listener, handle)
    client = connect(listener.getsockname())
    with pytest.raises(ZeroDivisionError):
        server.wait()
    assert client.recv(1) == b""
    client.close()
    listener.close()


def test_stop_serve_ends_it_in_peace() -> None:
    listener = listen(("127.0.0.1", 0))

    def handle(connection: Any, address: Any) -> None:
        raise StopServe

    server = spawn(serve, listener, handle)
    client = connect(listener.getsockname())
    assert server.wait() is None
    client.close()
    listener.close()


def test_a_handler_that_is_killed_closes_its_connection_and_the_server_goes_on() -> None:
    listener = listen(("127.0.0.1", 0))
    handlers: list[Any] = []

    def handle(connection: Any, address: Any) -> None:
        handlers.append(getcurrent())
        echo(connection, address)

    server = spawn(serve, listener, handle)
    client = connect(listener.getsockname())
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    kill(handlers[0], GreenletExit)
    assert client.recv(1) == b""
    client.close()
    assert ask(listener, b"again") == b"again"
    end(server, listener)


def test_connect_binds_where_it_is_told_to_and_closes_what_cannot_connect() -> None:
    listener = listen(("127.0.0.1", 0))
    client = connect(listener.getsockname(), bind=("127.0.0.1", 0))
    assert client.getsockname()[0] == "127.0.0.1"
    client.close()
    address = listener.getsockname()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_a_port_is_shared_only_by_those_who_say_so(real_hub: Hub) -> None:
    first = listen(("127.0.0.1", 0), reuse_port=True)
    second = listen(first.getsockname(), reuse_port=True)
    with pytest.raises(OSError):
        listen(first.getsockname())
    for each in (first, second):
        each.close()


def test_a_port_forwarder_joins_two_connections_with_two_green_threads() -> None:
    """Eventlet's example: each direction is a loop of its own, and the end of one ends the other."""
    target, front = listen(("127.0.0.1", 0)), listen(("127.0.0.1", 0))
    serving, forwarded = spawn(serve, target, echo), Queue()

    def pump(source: Any, sink: Any) -> None:
        while data := source.recv(1 << 15):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def forward(connection: Any, address: Any) -> None:
        inner = create_connection(target.getsockname())
        back = spawn(pump, inner, connection)
        pump(connection, inner)
        back.wait()
        inner.close()
        forwarded.put(address)

    forwarding = spawn(serve, front, forward)
    for word in (b"one", b"two"):
        assert ask(front, word) == word
        forwarded.get()
    end(forwarding, front)
    end(serving, target)
