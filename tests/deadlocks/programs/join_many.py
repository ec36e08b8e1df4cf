"""One joins a dozen at once; all of them have ended but for one that joins it in turn.

Deadlock: each, everybody
Not on eventlet: it cannot wait for several at once
Not on hub: it cannot wait for several at once
"""

from face import gevent, here, join, leave, never, sleep, spawn


def everybody():
    gevent.joinall(others)
    never("everybody")


def each(number):
    sleep(0)
    if number == 7:
        join(threads[0])
        never("each")


threads = [spawn(everybody)]
others = [spawn(each, number) for number in range(12)]
here()
leave()
