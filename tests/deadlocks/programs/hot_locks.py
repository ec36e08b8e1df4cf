"""Ten greenlets over four locks, always in the same order and often: somebody waits all the time, and nobody for long.

Deadlock: none
"""

from face import Lock, here, join, leave, sleep, spawn


def busy(number):
    for turn in range(200):
        first, second = sorted(((number + turn) % 4, (number * 3 + turn * 2 + 1) % 4))
        with locks[first]:
            if turn % 3 == 0:
                sleep(0)
            if first != second:
                with locks[second]:
                    sleep(0)


locks = [Lock() for _ in range(4)]
threads = [spawn(busy, number) for number in range(10)]
here()
for thread in threads:
    join(thread)
leave()
