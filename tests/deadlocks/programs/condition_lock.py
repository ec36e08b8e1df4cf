"""The notifier waits, with the condition's lock in hand, for the very greenlet that it has woken and that wants the lock back.

Deadlock: notified, notifier
Not on gevent: it has no Condition of its own; see patched_condition
"""

from face import Condition, here, join, leave, never, sleep, spawn


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


condition = Condition()
thread = spawn(notified, condition)
threads = [thread, spawn(notifier, condition, thread)]
here()
leave()
