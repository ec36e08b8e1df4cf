"""The boss waits for the worker to finish, with the lock in hand that the worker wants.

Deadlock: boss, worker
"""

from face import Lock, here, join, leave, never, spawn


def worker(lock):
    with lock:
        never("worker")


def boss(lock):
    with lock:
        join(spawn(worker, lock))
    never("boss")


thread = spawn(boss, Lock())
here()
leave()
