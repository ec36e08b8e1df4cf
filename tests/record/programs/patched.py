"""Patched: the standard library's threading after `monkey_patch`; argv[1] is eventlet or gevent."""

import sys
import warnings

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
    from gevent import Greenlet, sleep, spawn

    join = Greenlet.join
else:
    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()
    from eventlet import sleep, spawn
    from eventlet.greenthread import GreenThread

    join = GreenThread.wait

import queue
import threading


def notified(condition):
    with condition:
        condition.wait()


def notifier(condition):
    sleep(0.001)
    with condition:
        condition.notify()
        sleep(0.001)


def locker(lock):
    with lock:
        sleep(0.002)


def locked(lock):
    sleep(0)
    with lock:
        pass


def getter(line):
    line.get()


def putter(line):
    sleep(0.001)
    line.put(1)


def both(first, second, argument):
    for each in [spawn(first, argument), spawn(second, argument)]:
        join(each)


both(notified, notifier, threading.Condition())
both(locker, locked, threading.Lock())
both(getter, putter, queue.Queue())
thread = threading.Thread(target=sleep, args=(0.001,))
thread.start()
thread.join()
print("done")
