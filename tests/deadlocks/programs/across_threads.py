"""Two OS threads with a hub each; a greenlet of the one and a greenlet of the other want each other's lock.

Deadlock: east, west
Not on eventlet: its locks are for the greenlets of one thread
Not on hub: its locks are for the green threads of one OS thread
Unknown on late: of a Semaphore that was there before nobody can say how many places it has
"""

import threading

from face import Semaphore, here, leave, never, sleep, spawn


def east(a, b):
    with a:
        ready[0].set()
        while not ready[1].is_set():
            sleep(0.001)
        with b:
            never("east")


def west(a, b):
    with b:
        ready[1].set()
        while not ready[0].is_set():
            sleep(0.001)
        with a:
            never("west")


def run(function):
    thread = spawn(function, a, b)
    while not thread.dead:
        sleep(0.005)


a, b = Semaphore(1), Semaphore(1)
ready = [threading.Event(), threading.Event()]
for function in (east, west):
    threading.Thread(target=run, args=(function,), daemon=True).start()
while not (ready[0].is_set() and ready[1].is_set()):
    sleep(0.001)
sleep(0.05)
here()
leave()
