"""Fork: a child that goes on with greenlets of its own while the parent's go on too."""

import os

import face


def before():
    face.sleep(0.001)


def in_parent():
    face.sleep(0.005)


def in_child(lock):
    with lock:
        face.sleep(0.002)


def main():
    held = face.Semaphore(1)
    held.acquire()
    face.join(face.spawn(before))
    pid = os.fork()
    if not pid:
        face.join(face.spawn(in_child, face.Semaphore(1)))
        os._exit(7)
    face.join(face.spawn(in_parent))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), pid)


main()
