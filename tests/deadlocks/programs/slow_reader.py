"""One waits for the network with a lock in hand, ten wait for the lock, one for one of the ten.

Deadlock: none
"""

from face import Lock, here, join, leave, sleep, socket, spawn


def reader():
    with lock:
        connection, _ = listening.accept()
        connection.recv(10)


def wanting():
    sleep(0)
    with lock:
        sleep(0)


def joining():
    join(threads[1])


lock = Lock()
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(1)
threads = [spawn(reader), *(spawn(wanting) for _ in range(10)), spawn(joining)]
here()
client = socket.socket()
client.connect(listening.getsockname())
client.sendall(b"hello")
for thread in threads:
    join(thread)
leave()
