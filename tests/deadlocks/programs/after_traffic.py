"""The same locks, taken and given back a thousand times in good order by six greenlets; then once in the wrong one.

Deadlock: alice, bob
"""

from face import Lock, here, join, leave, never, sleep, spawn


def traffic():
    for number in range(300):
        with a, b:
            if number % 10 == 0:
                sleep(0)


def alice():
    with a:
        sleep(0)
        with b:
            never("alice")


def bob():
    with b:
        sleep(0)
        with a:
            never("bob")


a, b = Lock(), Lock()
for thread in [spawn(traffic) for _ in range(6)]:
    join(thread)
threads = [spawn(alice), spawn(bob)]
here()
leave()
