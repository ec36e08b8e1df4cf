"""An rlock that its owner enters again and again while others wait for it, who enter it again in their turn.

Deadlock: none
"""

from face import RLock, here, join, leave, sleep, spawn


def owner(depth):
    with rlock:
        sleep(0.02)
        if depth:
            owner(depth - 1)


rlock = RLock()
threads = [spawn(owner, 6) for _ in range(4)]
here()
for thread in threads:
    join(thread)
leave()
