"""Waits for a lock that were given up, killed, in vain or refused leave no hold behind; the lock goes round until its last holder locks up.

Deadlock: alice, bob
Victims: carol
"""

from face import Lock, Timeout, here, kill, leave, never, sleep, spawn, turns


def gives_up():
    with Timeout(0.01, False), a:
        never("gives_up")


def is_killed():
    with a:
        never("is_killed")


def in_vain():
    assert not a.acquire(False)
    assert not a.acquire(timeout=0.01)


def alice():
    with a:
        while waiting:
            sleep(0.005)
    with a:
        sleep(0.01)
        with b:
            never("alice")


def bob():
    with b:
        while not b_may:
            sleep(0.005)
        with a:
            never("bob")


def carol():
    while not b_may:
        sleep(0.005)
    turns(3)
    with b:
        never("carol")


a, b = Lock(), Lock()
b_may = []
waiting = [1]
threads = [spawn(alice), spawn(bob), spawn(carol)]
turns(2)
others = [spawn(gives_up), spawn(is_killed), spawn(in_vain)]
turns(2)
kill(others[1])
while not all(thread.dead for thread in others):
    sleep(0.005)
waiting.clear()
sleep(0.03)
b_may.append(1)
sleep(0.05)
here()
leave()
