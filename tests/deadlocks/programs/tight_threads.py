"""Two OS threads with a hub each, whose greenlets wait for one another's locks in good order.

Deadlock: none
"""

import threading

from face import Lock, here, join, leave, sleep, spawn


def work(locks):
    for _ in range(30):
        with locks[0]:
            sleep(0)
            with locks[1]:
                sleep(0.001)


def run(started):
    locks = Lock(), Lock()
    threads = [spawn(work, locks) for _ in range(3)]
    sleep(0)
    started.set()
    for thread in threads:
        join(thread)


others = []
for _ in range(2):
    started = threading.Event()
    others.append(threading.Thread(target=run, args=(started,), daemon=True))
    others[-1].start()
    started.wait()
here()
while any(other.is_alive() for other in others):
    sleep(0.01)
leave()
