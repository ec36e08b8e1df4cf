"""Waits: every way to wait for another greenlet, one pair of greenlets for each.

The order is the same every time: whoever must be first announces itself, and `after(n)` turns pass before the second begins.
"""

import face
from face import sleep, spawn


def turns(count):
    for _ in range(count):
        sleep(0)


def lock_holder(lock):
    with lock:
        sleep(0.005)


def lock_taker(lock):
    turns(2)
    lock.acquire()
    lock.release()


def semaphore_holder(semaphore):
    semaphore.acquire()
    sleep(0.005)
    semaphore.release()


def semaphore_taker(semaphore):
    turns(2)
    with semaphore:
        pass


def bounded_holder(semaphore):
    with semaphore:
        sleep(0.005)


def bounded_taker(semaphore):
    turns(2)
    semaphore.acquire()
    semaphore.release()


def rlock_holder(rlock):
    with rlock:
        with rlock:
            sleep(0.005)
        sleep(0.001)


def rlock_taker(rlock):
    turns(2)
    rlock.acquire()
    rlock.acquire()
    rlock.release()
    rlock.release()


def signal_waiter(semaphore):
    semaphore.acquire()


def signal_sender(semaphore):
    sleep(0.005)
    semaphore.release()


def stranger(semaphore):
    sleep(0.005)
    semaphore.release()


def stranger_taker(semaphore):
    turns(2)
    semaphore.acquire()


def event_waiter(event):
    event.wait()


def event_sender(event):
    sleep(0.005)
    face.fire(event)


def queue_getter(queue):
    queue.get()


def queue_putter(queue):
    sleep(0.005)
    queue.put("something")


def full_putter(queue):
    queue.put("the first")
    queue.put("the second")


def full_getter(queue):
    sleep(0.005)
    queue.get()


def joined():
    sleep(0.005)
    return "result"


def joiner(other):
    face.join(other)


def patient(lock):
    turns(2)
    assert not lock.acquire(True, 0.005)


def patient_holder(lock):
    with lock:
        sleep(0.02)


def both(first, second, argument):
    one, two = spawn(first, argument), spawn(second, argument)
    for each in (one, two):
        face.join(each)


def main():
    both(lock_holder, lock_taker, face.Lock())
    both(semaphore_holder, semaphore_taker, face.Semaphore(1))
    both(bounded_holder, bounded_taker, face.BoundedSemaphore(1))
    both(rlock_holder, rlock_taker, face.RLock())
    both(signal_waiter, signal_sender, face.Semaphore(0))
    semaphore = face.Semaphore(1)
    semaphore.acquire()
    both(stranger, stranger_taker, semaphore)
    both(patient_holder, patient, face.Lock())
    event = face.Event()
    both(event_waiter, event_sender, event)
    face.unfire(event)
    both(queue_getter, queue_putter, face.Queue())
    both(full_putter, full_getter, face.Queue(1))
    both(joiner, lambda other: None, spawn(joined))


main()
print("done")
