"""Timers: sleeps, calls, and Timeouts that fire and that do not."""

import face


def sleeper():
    face.sleep(0.003)


def overdue():
    try:
        with face.Timeout(0.005):
            face.sleep(60)
    except face.Timeout:
        pass


def in_time():
    with face.Timeout(60):
        face.sleep(0.002)


def guarded(lock):
    try:
        with face.Timeout(0.005):
            lock.acquire()
    except face.Timeout:
        pass


def late():
    pass


def holder(lock):
    with lock:
        face.sleep(0.03)


def main():
    lock = face.Semaphore(1)
    everybody = [face.spawn(sleeper), face.spawn(overdue), face.spawn(in_time), face.spawn(holder, lock)]
    face.sleep(0)
    everybody += [face.spawn(guarded, lock), face.spawn_after(0.004, late)]
    for each in everybody:
        face.join(each)


main()
print("done")
