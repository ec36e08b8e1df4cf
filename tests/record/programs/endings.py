"""Endings: what becomes of greenlets into which something is thrown, in each way in which the runtime makes a greenlet.

Each function says in its name how the greenlet ends in it when a GreenletExit is thrown in: `returned_...`, `killed_...`, `exception_...`.
"""

import contextlib
import sys

import face
import greenlet
from greenlet import GreenletExit, getcurrent

kept = []
waits = [face.sleep, lambda seconds: getcurrent().parent.switch()]
wait = waits[0]


def returned_after_it_caught():
    try:
        wait(60)
    except GreenletExit:
        return 7


def returned_with_what_it_caught_kept():
    try:
        wait(60)
    except GreenletExit as error:
        kept.append(error)
        return [1]


def returned_from_finally():
    try:
        wait(60)
    finally:
        return None  # noqa: B012


def returned_below():
    with contextlib.suppress(GreenletExit):
        inner = lambda: wait(60)  # noqa: E731
        inner()


def returned_after_another_wait():
    try:
        wait(60)
    except GreenletExit:
        wait(0.001)
        return 1


def killed_plainly():
    wait(60)


def killed_inside_with():
    with contextlib.nullcontext():
        wait(60)


def killed_and_cleans_up():
    try:
        wait(60)
    finally:
        kept.clear()


def killed_although_it_catches_others():
    try:
        wait(60)
    except ValueError:
        return 1


def killed_at_the_second_throw():
    with contextlib.suppress(GreenletExit):
        wait(60)
    wait(60)


def killed_keeps_its_end():
    try:
        wait(60)
    except GreenletExit as error:
        kept.append(error)
        raise


def exception_instead():
    try:
        wait(60)
    except GreenletExit:
        raise ValueError("on purpose") from None


ways = [function for name, function in sorted(globals().items()) if name.startswith(("returned_", "killed_", "exception_"))]


def spawn_plain(function):
    if face.name == "gevent":
        return face.gevent.spawn_raw(function)
    return (face.eventlet if face.name == "eventlet" else face.hub).spawn_n(function)


def throw(victim):
    if isinstance(victim, greenlet.greenlet) and not victim.dead:
        try:
            face.kill(victim)
        except ValueError:
            pass
        face.sleep(0.002)


# What is raised in vain is printed, by runtimes in their own ways.
sys.stderr.flush()
for spawn in (face.spawn, spawn_plain):
    for function in ways:
        print(spawn.__name__, function.__name__)
        victim = spawn(function)
        face.sleep(0)
        throw(victim)
        throw(victim)
        assert victim.dead
        del victim

wait = waits[1]
for function in ways:
    victim = greenlet.greenlet(function)
    victim.switch()
    for resume in (victim.throw, victim.throw if function is killed_at_the_second_throw else victim.switch):
        if not victim.dead:
            try:
                resume(*[GreenletExit] * (resume == victim.throw))
            except ValueError:
                pass
    del resume
    assert victim.dead
    del victim
print("done")
