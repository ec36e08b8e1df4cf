"""Two pools of one: the member of each wants a place in the other.

Deadlock: 2 member
Victims: late
"""

from face import GreenPool, here, leave, never, sleep, spawn


def member(other):
    sleep(0)
    other.spawn(never, "a place")
    never("member")


def starter():
    first.spawn(member, second)
    second.spawn(member, first)


def late():
    for _ in range(4):
        sleep(0)
    first.spawn(never, "late")


first, second = GreenPool(1), GreenPool(1)
threads = [spawn(starter), spawn(late)]
here()
leave()
