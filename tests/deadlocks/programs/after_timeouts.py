"""Time limits that were over, or were taken back, before the locks were waited for: they open nothing any more.

Deadlock: alice, bob
"""

from face import Lock, Timeout, here, leave, never, sleep, spawn


def limited(own):
    with Timeout(30):
        sleep(0)
    with Timeout(0.001, False):
        sleep(1)
    with own:
        sleep(0.001)


def alice(a, b):
    limited(Lock())
    with a:
        sleep(0.002)
        with b:
            never("alice")


def bob(a, b):
    limited(Lock())
    with b:
        sleep(0.002)
        with a:
            never("bob")


a, b = Lock(), Lock()
threads = [spawn(alice, a, b), spawn(bob, a, b)]
while not (a.locked() and b.locked()):
    sleep(0.001)
sleep(0.02)
here()
leave()
