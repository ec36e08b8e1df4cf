"""Two are deadlocked until a third kills one of them: it stood, and stands no more.

Deadlock: alice, bob
In the end: none
"""

from face import Lock, here, join, kill, leave, sleep, spawn


def alice(a, b):
    with a:
        sleep(0)
        with b:
            raise AssertionError("alice got both")


def bob(a, b):
    with b:
        sleep(0)
        with a:
            pass


a, b = Lock(), Lock()
threads = [spawn(alice, a, b), spawn(bob, a, b)]
here()
kill(threads[0])
join(threads[1])
leave()
