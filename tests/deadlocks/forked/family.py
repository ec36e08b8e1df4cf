"""Family: what the programs of parents and children share: the fork that the second argument names, and the parent's wait."""

import os
import sys
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "programs"))

# Python itself warns of a fork beside other threads, as the one program means it.
warnings.simplefilter("ignore")
parent = os.getpid()
children = []


def fork():
    """Fork; gevent hears of children from the first watcher on, which its own fork makes too late for a child that ends at once."""
    if sys.argv[2] == "gevent":
        import gevent.os

        gevent.get_hub().loop.install_sigchld()
        pid = gevent.os.fork()
    else:
        pid = os.fork()
    children.append(pid)
    return pid


def is_child():
    return os.getpid() != parent


def wait():
    """Wait for the child: all of this thread, but for gevent's own fork, after which its loop may have reaped the child."""
    waitpid = sys.modules["gevent.os"].waitpid if sys.argv[2] == "gevent" else os.waitpid
    status = waitpid(children[0], 0)[1]
    print("child", os.waitstatus_to_exitcode(status), flush=True)


def only_in_parent(name):
    if is_child():
        print(f"{name} runs again", flush=True)
        os._exit(3)
