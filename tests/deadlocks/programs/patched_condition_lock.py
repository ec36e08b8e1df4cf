"""The standard library's Condition over a plain Lock, monkey-patched: the notifier joins, with the lock in hand, whom it has woken.

Deadlock: notified, notifier
Not on hub: nothing patches the standard library for it
Unknown on late: whoever took a lock by `acquire` alone does not show that it holds it
"""

import patched
from face import here, join, leave, never, sleep


def notified(condition):
    with condition:
        condition.wait()
    never("notified")


def notifier(condition, thread):
    sleep(0)
    condition.acquire()
    condition.notify()
    join(thread)
    never("notifier")


condition = patched.threading.Condition(patched.threading.Lock())
thread = patched.run(notified, condition)
threads = [thread, patched.run(notifier, condition, thread)]
here()
leave()
