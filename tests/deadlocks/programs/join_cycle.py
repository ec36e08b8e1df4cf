"""Three greenlets, each of which waits until the next has finished.

Deadlock: 3 follow
"""

from face import here, join, leave, never, sleep, spawn


def follow(number):
    sleep(0)
    join(threads[(number + 1) % 3])
    never("follow")


threads = [spawn(follow, number) for number in range(3)]
here()
leave()
