"""Life: greenlets that are born, switch, are thrown into, end in every way and are collected."""

import face
import greenlet


def plain():
    greenlet.getcurrent().parent.switch("one")
    greenlet.getcurrent().parent.switch("two")


def breaks():
    raise ValueError("on purpose")


def thrown():
    try:
        greenlet.getcurrent().parent.switch()
    except KeyError:
        greenlet.getcurrent().parent.switch("caught")


def exits():
    greenlet.getcurrent().parent.switch()


def killed():
    face.sleep(60)


def worker():
    face.sleep(0.001)
    return 42


def nursery():
    born = []
    for _ in range(3):
        born.append(face.spawn(worker))
    return born


def raw():
    one = greenlet.greenlet(plain)
    assert one.switch() == "one"
    assert one.switch() == "two"
    assert one.switch() is None
    two = greenlet.greenlet(breaks)
    try:
        two.switch()
    except ValueError:
        pass
    three = greenlet.greenlet(thrown)
    three.switch()
    assert three.throw(KeyError) == "caught"
    three.switch()
    four = greenlet.greenlet(exits)
    four.switch()
    four.throw(greenlet.GreenletExit)
    assert four.dead


raw()
for each in nursery():
    face.join(each)
del each
victim = face.spawn(killed)
face.sleep(0.001)
face.kill(victim)
face.sleep(0.001)
assert victim.dead
print("done")
