"""Remains: what is dropped is gone at once, greenlets, locks, sockets, and what their frames held.

Prints a line for each thing: whether it lived before it was dropped, whether it is gone right after, and, once the rest is
collected that keeps itself alive in circles (an exception that ended a greenlet does), how many are left.
"""

import gc
import weakref

import face

gc.disable()


class Local:
    pass


local = None
references = []


def finishes():
    mine = Local()
    globals()["local"] = weakref.ref(mine)
    face.sleep(0)


def parks(on):
    mine = Local()
    globals()["local"] = weakref.ref(mine)
    on.wait()
    return mine


def holds(lock):
    with lock:
        face.sleep(0)


def reads(end):
    return end.recv(10)


def say(what, alive, reference):
    print(what, alive, reference() is None)
    references.append(reference)


def a_greenlet():
    g = face.spawn(finishes)
    ref = weakref.ref(g)
    face.sleep(0)
    alive = local() is not None
    face.join(g)
    face.sleep(0)
    say("frame", alive, local)
    alive = ref() is not None
    del g
    say("greenlet", alive, ref)


def a_parked_greenlet():
    event = face.Event()
    g = face.spawn(parks, event)
    ref, on = weakref.ref(g), weakref.ref(event)
    face.sleep(0)
    alive = local() is not None
    face.kill(g)
    face.sleep(0)
    face.sleep(0)
    say("frame of a killed greenlet", alive, local)
    del g, event
    say("killed greenlet", True, ref)
    say("event", True, on)


def locks():
    for make in (face.Lock, face.Semaphore, face.RLock):
        lock = make()
        ref = weakref.ref(lock)
        g = face.spawn(holds, lock)
        with lock:
            face.sleep(0)
        face.join(g)
        face.sleep(0)
        del g
        alive = ref() is not None
        del lock
        say(make.__name__, alive, ref)


def a_queue():
    queue = face.Queue()
    ref = weakref.ref(queue)
    thing = Local()
    carried = weakref.ref(thing)
    g = face.spawn(queue.get)
    face.sleep(0)
    queue.put(thing)
    face.sleep(0)
    face.join(g)
    face.sleep(0)
    del g, thing
    say("what went through a queue", True, carried)
    del queue
    say("queue", True, ref)


def sockets():
    server = face.socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    client = face.socket.socket()
    client.connect(server.getsockname())
    end, _ = server.accept()
    g = face.spawn(reads, end)
    face.sleep(0)
    client.sendall(b"x")
    face.join(g)
    face.sleep(0)
    del g
    server.close()
    client.close()
    end.close()
    refs = [weakref.ref(server), weakref.ref(client), weakref.ref(end)]
    del server, client, end
    for ref in refs:
        say("socket", True, ref)


def a_timeout():
    limit = face.Timeout(60)
    ref = weakref.ref(limit)
    face.sleep(0)
    limit.cancel()
    del limit
    say("timeout", True, ref)


for each in (a_greenlet, a_parked_greenlet, locks, a_queue, sockets, a_timeout):
    each()
    face.sleep(0)
gc.collect()
print("left", sum(reference() is not None for reference in references))
