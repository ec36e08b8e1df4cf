"""Threads: recording begins in threads that were there before, and ends in them, on each of the ways that lead there."""

from __future__ import annotations

import pytest

from greentrace.events import Kind

from .conftest import PROGRAMS, Runner
from .grammar import walk

THREAD = """
import sys, threading
from pathlib import Path
import greenlet
from greentrace.record import recorder
from greentrace.record.session import Session
session = Session(Path(sys.argv[1]), 1 << 20)
from greentrace.record import threads
threads.WAIT_SECONDS = 30
core = recorder.load()[1]
class Turns:
    '''Lets one thread go on at a time.'''
    def __init__(self):
        self.locks = [threading.Lock(), threading.Lock()]
        for lock in self.locks:
            lock.acquire()
    def go(self):
        self.locks[0].release()
        self.locks[1].acquire()
    def wait(self):
        self.locks[1].release()
        self.locks[0].acquire()
turns = Turns()
def switches(count):
    home = greenlet.getcurrent()
    def away():
        while True:
            home.switch()
    other = greenlet.greenlet(away)
    def some():
        for _ in range(count):
            other.switch()
    return some
"""
UNREACHABLE = """
core.start_other = core.stop_other = lambda main: None
"""


def test_of_a_thread_that_was_there_before_not_a_switch_is_missed(bare: Runner) -> None:
    program = f"""{THREAD}
def run():
    some = switches(10)
    some()
    turns.wait()
    some()
    turns.wait()
    print(greenlet.gettrace())
    some()
thread = threading.Thread(target=run)
thread.start()
turns.locks[1].acquire()
session.start()
turns.go()
print(session.stop())
turns.locks[0].release()
thread.join()
"""
    done = bare(program)
    assert done.said == (0, "[]\nNone\n", "")
    assert len(done.ring.of(Kind.SWITCH)) == 20
    walk(done.ring)


def test_a_tracer_that_was_there_before_in_another_thread_still_runs_and_is_back_afterwards(bare: Runner) -> None:
    program = f"""{THREAD}
seen = []
def theirs(event, arguments):
    seen.append(event)
def run():
    greenlet.settrace(theirs)
    some = switches(10)
    turns.wait()
    some()
    print(greenlet.gettrace() is theirs, len(seen))
    turns.wait()
    print(greenlet.gettrace() is theirs)
    some()
    print(len(seen))
thread = threading.Thread(target=run)
thread.start()
turns.locks[1].acquire()
before = sys.getrefcount(theirs)
session.start()
turns.go()
print(session.stop())
print(sys.getrefcount(theirs) - before)
turns.locks[0].release()
thread.join()
"""
    done = bare(program)
    assert done.said == (0, "False 20\n[]\n0\nTrue\n40\n", "")
    assert len(done.ring.of(Kind.SWITCH)) == 20


def test_whoever_took_our_place_in_another_thread_is_left_there_and_named(bare: Runner) -> None:
    program = f"""{THREAD}
seen = []
def run():
    some = switches(10)
    turns.wait()
    some()
    ours = greenlet.gettrace()
    def theirs(event, arguments):
        seen.append(event)
        ours(event, arguments)
    greenlet.settrace(theirs)
    turns.wait()
    print(greenlet.gettrace() is theirs)
    some()
    print(len(seen))
    turns.wait()
    some()
    print(len(seen))
    turns.wait()
    print(greenlet.gettrace() is theirs)
    some()
    greenlet.settrace(None)
thread = threading.Thread(target=run)
thread.start()
turns.locks[1].acquire()
session.start()
turns.go()
print(session.stop())
turns.go()
session.start()
turns.go()
print(session.stop())
turns.locks[0].release()
thread.join()
"""
    done = bare(program)
    assert done.said == (0, "['greenlet.settrace in another thread']\nTrue\n20\n40\n[]\nTrue\n", "")


def test_a_thread_that_cannot_be_written_to_is_traced_from_its_next_call_and_keeps_its_profiler(bare: Runner) -> None:
    program = f"""{THREAD}{UNREACHABLE}
calls = []
def profiler(frame, event, argument):
    calls.append(event)
def touch():
    pass
def run():
    some = switches(10)
    sys.setprofile(profiler)
    turns.wait()
    touch()
    sys.getprofile()
    print(sys.getprofile() is profiler, greenlet.gettrace() is not None)
    sys.setprofile(None)
    some()
    turns.wait()
    print(greenlet.gettrace() is not None)
    some()
    print(greenlet.gettrace())
thread = threading.Thread(target=run)
thread.start()
turns.locks[1].acquire()
session.start()
turns.go()
print([name.rpartition(" ")[0] for name in session.stop()])
turns.locks[0].release()
thread.join()
print(sys.getprofile(), session.stop())
"""
    done = bare(program)
    assert done.said == (0, "True True\n['greenlet.settrace in thread']\nTrue\nNone\nNone []\n", "")
    assert len(done.ring.of(Kind.SWITCH)) == 20
    walk(done.ring)


def test_a_thread_that_calls_nothing_has_its_profiler_back_at_the_end(bare: Runner) -> None:
    program = f"""{THREAD}{UNREACHABLE}
def profiler(frame, event, argument):
    pass
def run():
    greenlet.getcurrent()
    sys.setprofile(profiler)
    ready.release()
    wake.acquire()
    print(sys.getprofile() is profiler, greenlet.gettrace())
    sys.setprofile(None)
ready, wake = threading.Lock(), threading.Lock()
ready.acquire()
wake.acquire()
thread = threading.Thread(target=run)
thread.start()
ready.acquire()
before = sys.getrefcount(profiler)
session.start()
print(session.stop(), sys.getrefcount(profiler) - before)
wake.release()
thread.join()
"""
    assert bare(program).said == (0, "[] 0\nTrue None\n", "")


@pytest.mark.parametrize("loop", ["libev-cext", "libev-cffi", "libuv-cffi"])
def test_a_gevent_hub_is_asked_in_its_own_thread(bare: Runner, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEVENT_LOOP", loop)
    program = f"""{THREAD}{UNREACHABLE}
import gevent
from greentrace.record import profile_once
profile_once.install = lambda action: False
stop, words = [], []
def beat():
    while not stop:
        gevent.sleep(0.001)
        words.append(greenlet.gettrace())
def run():
    gevent.joinall([gevent.spawn(beat), gevent.spawn(beat)])
def word():
    del words[:]
    while len(words) < 6:
        pass
    return words[-1]
thread = threading.Thread(target=run)
thread.start()
word()
for _ in range(5):
    session.start()
    print(word() is not None, session.stop(), word())
stop.append(1)
thread.join()
"""
    done = bare(program)
    assert done.said == (0, "True [] None\n" * 5, "")
    walk(done.ring)


def test_the_last_resort_spares_threads_that_come_and_go(bare: Runner) -> None:
    program = f"""{THREAD}
from greentrace.record import profile_once
done, faults, calls = [], [], []
def short():
    if sys.getprofile() not in (None, theirs):
        faults.append(sys.getprofile())
def theirs(frame, what, argument):
    calls.append(what)
def starter():
    sys.setprofile(theirs)
    while not done:
        threads = [threading.Thread(target=short) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if sys.getprofile() is not theirs:
            faults.append(sys.getprofile())
starters = [threading.Thread(target=starter) for _ in range(2)]
for each in starters:
    each.start()
met = []
for _ in range(100):
    print(profile_once.install(lambda: met.append(threading.get_ident())))
    before = len(calls)
    while len(calls) == before:
        pass
    profile_once.remove()
done.append(1)
for each in starters:
    each.join()
print(faults, {{starter.ident for starter in starters}} <= set(met), sys.getprofile())
"""
    assert bare(program).said == (0, "True\n" * 100 + "[] True None\n", "")


def test_a_hub_that_was_there_before_tells_when_it_polls(bare: Runner, runtime: str) -> None:
    program = f"""{THREAD}
sys.path.insert(0, {str(PROGRAMS)!r})
sys.argv[1:] = [{runtime!r}]
import face
stop, beats = [], []
def beat():
    while not stop:
        face.sleep(0.001)
        beats.append(1)
def run():
    face.join(face.spawn(beat))
thread = threading.Thread(target=run)
thread.start()
def some_beats():
    del beats[:]
    while len(beats) < 20:
        face.sleep(0.001)
some_beats()
session.start()
some_beats()
print(session.stop())
stop.append(1)
thread.join()
"""
    done = bare(program)
    assert done.said == (0, "[]\n", "")
    polls = done.ring.of(Kind.POLL_BEGIN)
    assert len({poll.thread for poll in polls}) == 2
    walk(done.ring)
