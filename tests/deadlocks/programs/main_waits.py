"""The main greenlet itself waits for one of the deadlocked, and nothing else is left that could turn the hub.

Deadlock: alice, bob
Victims: main
Ends: killed, for nothing will ever happen again
Ends on gevent: with LoopExit, which its hub raises in the main greenlet, which therefore is no victim any more
"""

import os

import face
from face import Lock, here, join, never, sleep, spawn


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


def teller():
    face.ending = "exit"
    here()
    print("here", flush=True)


a, b = Lock(), Lock()
threads = [spawn(alice, a, b), spawn(bob, a, b), spawn(teller)]
try:
    join(threads[0])
except BaseException as error:
    print(type(error).__name__, flush=True)
    os._exit(0)
