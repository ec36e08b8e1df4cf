"""Echo: a server and ten clients who talk over sockets, all in one thread.

What one should see: nothing wrong. A listener on the server's fd, pairs of greenlets that take turns as their fds become ready,
each parked on a read most of the time, all of them finished at the end but for the server, which is killed.
"""

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


CLIENTS, ROUNDS = 10, 5


def serve(listener, answering):
    while True:
        connection, _ = listener.accept()
        answering.append(rt.spawn(answer, connection))


def answer(connection):
    while data := connection.recv(1024):
        connection.sendall(data)
    connection.close()


def client(number, address):
    connection = rt.socket.create_connection(address)
    for turn in range(ROUNDS):
        message = f"client {number} turn {turn}".encode()
        connection.sendall(message)
        assert connection.recv(1024) == message
    connection.close()
    return ROUNDS


def main():
    listener = rt.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(CLIENTS)
    answering = []
    server = rt.spawn(serve, listener, answering)
    clients = [rt.spawn(client, number, listener.getsockname()) for number in range(CLIENTS)]
    print(f"{sum(rt.wait(each) for each in clients)} messages came back")
    for each in answering:
        rt.wait(each)
    server.kill()
    listener.close()


if __name__ == "__main__":
    options = command_line(__doc__)
    rt = choose(options.runtime)
    main()
