"""Two wait for each other or for an Event object: the latter wakes them.

Deadlock: none
Not on eventlet: it cannot wait for one of several things
Not on hub: it cannot wait for one of several things
"""

from face import Event, gevent, here, join, leave, spawn


def either(number):
    gevent.wait([threads[1 - number], event], count=1)


event = Event()
threads = []
threads += [spawn(either, 0), spawn(either, 1)]
here()
event.set()
for thread in threads:
    join(thread)
leave()
