"""Hogs: the watchdog in threads of all kinds, with the GIL and without, and never a false alarm."""

from __future__ import annotations

from greentrace.replay.model import Finding

from .conftest import Flown, Fly


def seen(done: Flown) -> list[Finding]:
    return [finding for finding in done.findings("hub-blocked") if "seen in the act" in finding.text]


def test_a_hub_in_another_thread_is_watched_too(fly: Fly, runtime: str) -> None:
    done = fly(
        """
import _thread
over = []
def work():
    def clock():
        while not over:
            rt.sleep(0.01)
    def compute():
        rt.sleep(0.05)
        end = time.monotonic() + 0.9
        while time.monotonic() < end:
            sum(range(100))
        over.append(1)
    rt.spawn(clock)
    rt.wait(rt.spawn(compute))
_thread.start_new_thread(work, ())
while not over:
    rt.sleep(0.01)
""",
        runtime,
        hog_ms=200,
    )
    assert done.triggers == ["hog"]
    assert any("(work.<locals>.compute)" in finding.text for finding in seen(done))


def test_c_code_that_keeps_the_gil_is_told_when_it_lets_go(fly: Fly, runtime: str) -> None:
    done = fly(
        """
def clock():
    while True:
        rt.sleep(0.01)
def compute():
    rt.sleep(0.05)
    # One call, which looks for no signal and gives the GIL to nobody.
    for _ in range(2):
        sorted(range(3_000_000), key=(0.5).__rmul__)
    rt.sleep(0)
rt.spawn(clock)
rt.wait(rt.spawn(compute))
""",
        runtime,
        hog_ms=100,
    )
    assert done.triggers == ["hog"]
    assert any("(compute)" in finding.text for finding in seen(done))


def test_a_callback_of_the_hub_that_takes_too_long_is_a_hog(fly: Fly, runtime: str) -> None:
    later = {
        "gevent": "import gevent\ngevent.get_hub().loop.timer(0.05).start(compute)",
        "eventlet": "from eventlet.hubs import get_hub\nget_hub().schedule_call_global(0.05, compute)",
        "hub": "from greentrace import hub\nhub.get_hub().call_later(0.05, compute)",
    }[runtime]
    done = fly(
        f"""
def compute():
    native_sleep(0.9)
{later}
rt.sleep(0.3)
rt.sleep(0.3)
""",
        runtime,
        hog_ms=200,
    )
    assert done.triggers == ["hog"]
    assert any("(compute)" in finding.text for finding in seen(done))


def test_who_is_alone_keeps_nobody_waiting(fly: Fly, runtime: str) -> None:
    done = fly("rt.wait(rt.spawn(rt.sleep, 0.01))\nnative_sleep(1.0)\nprint('fine')", runtime, hog_ms=100)
    assert (done.stdout, done.saved) == ("fine\n", [])


def test_a_hog_while_others_end_the_program_does_not_crash_it(fly: Fly, runtime: str) -> None:
    # The watchdog wants the GIL while the interpreter goes.
    done = fly(
        """
import atexit
rt.spawn(rt.sleep, 60)
rt.sleep(0.01)
atexit.register(native_sleep, 0.3)
native_sleep(0.3)
print("fine", flush=True)
""",
        runtime,
        hog_ms=20,
        triggers="hog",
    )
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert done.triggers == ["hog"]
