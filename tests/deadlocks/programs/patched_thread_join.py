"""Monkey-patched threads: the boss joins, with the lock in hand, a thread that wants the lock.

The greenlets of such threads bear the names of the threads.

Deadlock: boss, worker
Not on hub: nothing patches the standard library for it
"""

import patched
from face import here, leave, never


def worker():
    with lock:
        never("worker")


def boss():
    thread = patched.threading.Thread(target=worker, name="worker")
    with lock:
        thread.start()
        thread.join()
    never("boss")


lock = patched.threading.Lock()
first = patched.threading.Thread(target=boss, name="boss")
first.start()
here()
leave()
