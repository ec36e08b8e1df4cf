"""Threads: three OS threads, each with a hub and greenlets of its own, at the same time."""

import threading

import face


def ticker(name):
    for _ in range(20):
        face.sleep(0.0005)


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
