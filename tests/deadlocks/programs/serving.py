"""Two are deadlocked while a server next to them goes on serving: no runtime notices anything.

Deadlock: alice, bob
"""

import face
from face import Lock, here, leave, never, sleep, socket, spawn


def alice(a, b):
    with a:
        sleep(0)
        with b:
            never("alice")


def bob(a, b):
    with b:
        sleep(0)
        with a:
            never("bob")


def serve(listening):
    while True:
        connection, _ = listening.accept()
        spawn(answer, connection)


def answer(connection):
    connection.sendall(connection.recv(100))
    connection.close()


def ask(text):
    client = socket.socket()
    client.connect(listening.getsockname())
    client.sendall(text)
    got = client.recv(100)
    client.close()
    return got


listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(16)
server = spawn(serve, listening)
assert ask(b"before") == b"before"
a, b = Lock(), Lock()
threads = [spawn(alice, a, b), spawn(bob, a, b)]
face.turns()
for _ in range(20):
    assert ask(b"after") == b"after"
here()
leave()
