"""Busy: enough of everything, at the same time, for many generations of a small ring; some of it is still so at the end."""

import socket as standard

import face

ROUNDS = 700


def contender(lock, queue):
    for _ in range(ROUNDS):
        with lock:
            face.sleep(0)
        queue.put("something")


def consumer(queue):
    while queue.get():
        pass


def echo(end):
    while data := end.recv(100):
        end.sendall(data)


def asker(end):
    for _ in range(ROUNDS):
        end.sendall(b"?")
        end.recv(100)
    end.close()


def ephemeral():
    face.sleep(0)


def mother():
    for _ in range(ROUNDS):
        face.join(face.spawn(ephemeral))


def impatient(lock):
    for _ in range(ROUNDS // 10):
        try:
            with face.Timeout(0.0002), lock:
                face.sleep(0.001)
        except face.Timeout:
            pass


def sleeper():
    face.sleep(3600)


def waiter(event):
    event.wait()


def holder(lock):
    with lock:
        face.sleep(3600)


def pair():
    if face.name == "gevent":
        return face.socket.socketpair()
    return [face.socket.socket(fileno=end.detach()) for end in standard.socketpair()]


def main():
    lock, short, queue, (here, there) = face.Lock(), face.Semaphore(2), face.Queue(), pair()
    for_ever = [face.spawn(sleeper), face.spawn(waiter, face.Event()), face.spawn(holder, face.RLock()), face.spawn(consumer, queue)]
    everybody = [face.spawn(contender, lock, queue) for _ in range(4)]
    everybody += [face.spawn(echo, here), face.spawn(asker, there), face.spawn(mother)]
    everybody += [face.spawn(impatient, short) for _ in range(4)]
    for each in everybody:
        face.join(each)
    return for_ever


left = main()
print("done")
