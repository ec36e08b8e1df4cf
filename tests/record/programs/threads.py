"""Threads: three OS threads, each with a hub and greenlets of its own, that take turns as often as they can."""

import sys
import threading

import face

sys.setswitchinterval(1e-6)


def ticker(name):
    for _ in range(60):
        face.sleep(0.0001)


def east():
    for each in [face.spawn(ticker, "east") for _ in range(3)]:
        face.join(each)


def west():
    for each in [face.spawn(ticker, "west") for _ in range(3)]:
        face.join(each)


def main():
    threads = [threading.Thread(target=target) for target in (east, west)]
    for thread in threads:
        thread.start()
    for each in [face.spawn(ticker, "main") for _ in range(3)]:
        face.join(each)
    for thread in threads:
        thread.join()


main()
print("done")
