"""Two OS threads with a hub each, and a deadlock in each of them; the main thread goes on.

Deadlock: 2 cross
Deadlock: 2 cross
"""

import threading

from face import Lock, here, leave, never, sleep, spawn, turns


def cross(first, second):
    with first:
        sleep(0)
        with second:
            never("cross")


def run(closed):
    a, b = Lock(), Lock()
    threads = [spawn(cross, a, b), spawn(cross, b, a)]
    turns()
    closed.set()
    while threads:
        sleep(0.01)


for _ in range(2):
    closed = threading.Event()
    threading.Thread(target=run, args=(closed,), daemon=True).start()
    closed.wait()
here()
leave()
