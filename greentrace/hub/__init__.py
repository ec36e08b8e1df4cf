"""hub: a green-thread runtime on `greenlet` and `selectors` alone, in the manner of Eventlet.
"""
from greentrace.hub.greenthread import *
from greentrace.hub.loop import *
from greentrace.hub.semaphore import *
from greentrace.hub.timeout import *
