"""Io: sockets that are read, written until they are full, closed, and whose numbers are used again."""

import socket as standard

import face


def reader(end):
    while end.recv(65536):
        pass


def writer(end):
    face.sleep(0.002)
    end.sendall(b"x" * 3_000_000)
    end.close()


def listening(server):
    connection, _ = server.accept()
    connection.recv(10)
    connection.close()


def pair():
    return [face.socket.socket(fileno=end.detach()) if face.name != "gevent" else end for end in ends()]


def ends():
    if face.name == "gevent":
        return face.socket.socketpair()
    return standard.socketpair()


def over_a_pair():
    a, b = pair()
    number = a.fileno()
    reading = face.spawn(reader, a)
    writing = face.spawn(writer, b)
    face.join(writing)
    face.join(reading)
    a.close()
    return number


def over_tcp():
    server = face.socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    serving = face.spawn(listening, server)
    client = face.socket.socket()
    client.connect(server.getsockname())
    face.sleep(0.002)
    client.sendall(b"hello")
    face.join(serving)
    client.close()
    server.close()


first, second = over_a_pair(), over_a_pair()
over_tcp()
print(first, second)
