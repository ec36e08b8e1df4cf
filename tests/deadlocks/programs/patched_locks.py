"""The standard library's locks, monkey-patched: a Lock and an RLock in opposite order, in threads that are greenlets.

Deadlock: alice, bob
Not on hub: nothing patches the standard library for it
"""

import patched
from face import here, leave, never, sleep


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


a, b = patched.threading.Lock(), patched.threading.RLock()
patched.run(alice, a, b)
patched.run(bob, a, b)
here()
leave()
