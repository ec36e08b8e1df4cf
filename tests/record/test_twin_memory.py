"""Twin memory: frames of threads that run meanwhile are read, or show nothing; and never anything that is not there."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
from greentrace.record import twin_memory
sys.setswitchinterval(1e-6)
done = False
def work():
    while not done:
        numbers = [object() for _ in range(3)]
        deeper(numbers, 6)
def deeper(what, depth):
    own = [what]
    return deeper(own, depth - 1) if depth else own
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
read = 0
for _ in range(3000):
    for ident, frame in sys._current_frames().items():
        for depth, (code, at) in enumerate(twin_memory.stack(frame)):
            names = code.co_varnames
            values = twin_memory.slots(frame, depth, tuple(range(len(names))), code, at)
            if code.co_name == "deeper":
                what = values[0]
                assert what is None or type(what) is list, what
                read += what is not None
done = True
for thread in threads: thread.join()
print(read)
"""


def test_frames_of_threads_that_run_are_read_or_show_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 100
