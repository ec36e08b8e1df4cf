"""Hog: one greenlet computes for 300 ms and does not let go; the others are late.

What one should see: `compute` running for 300 ms without a switch, while three `clock` greenlets, due every 10 ms, are late:
runnable, or still parked long after their moment, for the hub gets no turn in which to wake them. The program says how late the latest was.
"""

import time

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


late_s = []


def clock():
    for _ in range(50):
        due = time.monotonic() + 0.01
        rt.sleep(0.01)
        late_s.append(time.monotonic() - due)


def compute():
    rt.sleep(0.1)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        sum(range(1000))


def main():
    for each in [rt.spawn(clock), rt.spawn(clock), rt.spawn(clock), rt.spawn(compute)]:
        rt.wait(each)
    print(f"the latest clock was {max(late_s) * 1000:.0f} ms late")


if __name__ == "__main__":
    options = command_line(__doc__)
    rt = choose(options.runtime)
    main()
