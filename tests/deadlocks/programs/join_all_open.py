"""One joins three at once, of whom one joins it in turn and the others sleep: any of them wakes it for a moment.

Deadlock: none
Not on eventlet: it cannot wait for several at once
Not on hub: it cannot wait for several at once
"""

from face import LIMIT, gevent, here, join, leave, sleep, spawn


def some():
    gevent.wait(others, count=1)


def each(number):
    if number:
        sleep(LIMIT)
    else:
        join(threads[0])


threads = [spawn(some)]
others = [spawn(each, number) for number in range(3)]
here()
for thread in threads + others:
    join(thread)
leave()
