"""Monkey-patched threads, started with a lock in hand and joined while others want it: the last one merely sleeps.

Deadlock: none
Not on hub: nothing patches the standard library for it
"""

import patched
from face import LIMIT, here, leave, sleep


def last():
    sleep(LIMIT)


def middle():
    thread = patched.threading.Thread(target=last)
    thread.start()
    with lock:
        thread.join()


def wanting():
    with lock:
        pass


lock = patched.threading.Lock()
threads = [patched.threading.Thread(target=function) for function in (middle, wanting, wanting)]
for thread in threads:
    thread.start()
here()
for thread in threads:
    thread.join()
leave()
