"""The standard library's Condition, monkey-patched: the notifier joins, with the lock in hand, the greenlet that it has woken.

Deadlock: notified, notifier
Not on hub: nothing patches the standard library for it
"""

import patched
from face import here, join, leave, never, sleep


def notified(condition):
    with condition:
        condition.wait()
    never("notified")


def notifier(condition, thread):
    sleep(0)
    with condition:
        condition.notify()
        join(thread)
    never("notifier")


condition = patched.threading.Condition()
thread = patched.run(notified, condition)
threads = [thread, patched.run(notifier, condition, thread)]
here()
leave()
