"""A chain of joins, with locks in hand, that ends at somebody who sleeps.

Deadlock: none
"""

from face import LIMIT, Lock, here, join, leave, sleep, spawn


def link(number):
    with locks[number]:
        join(threads[number - 1])


def wanting(number):
    sleep(0)
    with locks[number]:
        pass


locks = [Lock() for _ in range(6)]
threads = [spawn(sleep, LIMIT)]
threads += [spawn(link, number) for number in range(1, 6)]
threads += [spawn(wanting, number) for number in range(1, 6)]
here()
for thread in threads:
    join(thread)
leave()
