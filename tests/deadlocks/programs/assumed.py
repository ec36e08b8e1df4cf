"""One takes a plain lock twice, and a stranger gives it back for the first time ever: until then the verdict says what it assumes.

Deadlock: twice
In the end: none
Unknown on late: whoever took a lock by `acquire` alone does not show that it holds it
"""

from face import Lock, here, join, leave, spawn


def twice(lock):
    lock.acquire()
    lock.acquire()


lock = Lock()
thread = spawn(twice, lock)
here()
lock.release()
join(thread)
leave()
