"""What a greenlet has in its hands is read off its stack: with blocks exactly, `try`/`finally` as far as the code tells."""

from __future__ import annotations

from greentrace.replay import reader
from tests.record.conftest import Runner
from tests.record.grammar import walk
from tests.record.test_discovery import at_mark, face

HOLDS = """
import contextlib
locks = {name: Lock() for name in ("with", "nested", "generator", "manager", "stack", "finally", "attribute", "closure", "callee", "none")}
class Owner:
    lock = locks["attribute"]
def plain():
    with locks["with"]:
        with locks["nested"]:
            inner()
def inner():
    with locks["callee"]:
        sleep(1000)
def generator():
    with locks["generator"]:
        sleep(1000)
        yield
def through():
    for _ in generator():
        pass
@contextlib.contextmanager
def manager():
    with locks["manager"]:
        yield
def managed():
    with manager():
        sleep(1000)
def stacked():
    with contextlib.ExitStack() as stack:
        stack.enter_context(locks["stack"])
        sleep(1000)
def final():
    locks["finally"].acquire()
    lock = locks["finally"]
    try:
        sleep(1000)
    finally:
        lock.release()
def attribute():
    owner = Owner()
    owner.lock.acquire()
    try:
        sleep(1000)
    finally:
        owner.lock.release()
def make():
    lock = locks["closure"]
    def closure():
        lock.acquire()
        try:
            sleep(1000)
        finally:
            lock.release()
    return closure
def without():
    locks["none"].acquire()
    sleep(1000)
def after():
    with locks["none"] if False else Lock():
        pass
    sleep(1000)
threads = [spawn(f) for f in (plain, through, managed, stacked, final, attribute, make(), without, after)]
turns(4)
session.start()
session.mark("found")
"""


def test_what_a_greenlet_has_in_its_hands_is_read_off_its_stack(bare: Runner, runtime: str) -> None:
    ring = bare(face(runtime, HOLDS)).ok.ring
    walk(ring)
    with reader.open(ring.path) as trace:
        world = trace.at_position(0, at_mark(ring, "found"))
        held = {world.label(now.key).rpartition(".")[2]: [hold.observed for hold in now.holds] for now in world.greenlets.values()}
    assert {name: holds for name, holds in held.items() if holds} == {
        "plain": [True] * 3,
        "through": [True],
        "managed": [True],
        "stacked": [True],
        "final": [False],
        "attribute": [False],
        "closure": [False],
    }
