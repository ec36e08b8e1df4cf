"""One waits for an Event object with a lock in hand, another for the lock: anybody who can reach the Event may set it.

Deadlock: none
"""

from face import Event, Lock, fire, here, join, leave, sleep, spawn


def waiting():
    with lock:
        event.wait()


def wanting():
    sleep(0)
    with lock:
        pass


lock, event = Lock(), Event()
threads = [spawn(waiting), spawn(wanting)]
here()
fire(event)
for thread in threads:
    join(thread)
leave()
