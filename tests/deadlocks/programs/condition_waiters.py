"""Three wait for a condition, one of them with another lock in hand that the notifier wants for a while.

Deadlock: none
Not on gevent: it has no Condition of its own; see patched_threading
"""

from face import Condition, Lock, here, join, leave, sleep, spawn


def waiting(own):
    with own, condition:
        condition.wait()


def wanting(own):
    sleep(0)
    with own:
        pass


condition = Condition()
locks = [Lock() for _ in range(3)]
threads = [spawn(waiting, lock) for lock in locks] + [spawn(wanting, lock) for lock in locks]
here()
with condition:
    condition.notify_all()
for thread in threads:
    join(thread)
leave()
