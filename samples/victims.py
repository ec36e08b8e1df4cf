"""Victims: a deadlock of two, twenty who wait behind them, and one worker who is well.

What one should see: `left` and `right` deadlocked, twenty `victim`s parked on the lock of the left, who are no part of the deadlock
but will never run either, and `worker` ticking all the time, which is why no runtime notices anything. The main greenlet gives
up after a second (`--for SECONDS`).
"""

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


def left(mine, other):
    with mine:
        rt.sleep(0.01)
        with other:
            print("left has both")


def right(mine, other):
    with mine:
        rt.sleep(0.01)
        with other:
            print("right has both")


def victim(lock):
    rt.sleep(0.02)
    with lock:
        print("a victim was served")


def worker():
    while True:
        rt.sleep(0.05)


def main():
    one = rt.Lock()
    two = rt.Lock()
    threads = [rt.spawn(left, one, two), rt.spawn(right, two, one)]
    threads += [rt.spawn(victim, one) for _ in range(20)]
    rt.spawn(worker)
    with rt.Timeout(options.seconds or None, False):
        for each in threads:
            rt.wait(each)
    print("22 greenlets are stuck; the main greenlet gives up", flush=True)


if __name__ == "__main__":
    options = command_line(__doc__, seconds=1.0)
    rt = choose(options.runtime)
    main()
