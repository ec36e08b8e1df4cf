"""A server without guests: one listens, three workers wait for work, each of them with a lock of its own in hand.

Deadlock: none
"""

from face import Lock, Queue, here, join, leave, socket, spawn


def serve():
    connection, _ = listening.accept()
    work.put(connection.recv(10))
    connection.close()


def worker():
    with Lock():
        if work.get() is not None:
            work.put(None)
            work.put(None)


listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(1)
work = Queue()
threads = [spawn(serve), *(spawn(worker) for _ in range(3))]
here()
client = socket.socket()
client.connect(listening.getsockname())
client.sendall(b"hello")
for thread in threads:
    join(thread)
leave()
