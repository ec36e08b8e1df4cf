"""Philosophers: five at a table, a fork between any two, and each takes the left one first.

What one should see: a deadlock of five, in a ring, each holding the fork that its right neighbour waits for. The circle is
closed by the last philosopher who reaches for a second fork. The main greenlet gives up after a second (`--for SECONDS`).
"""

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


NAMES = ("plato", "hypatia", "socrates", "diotima", "zeno")


def dine(name, left, right):
    with left:
        print(f"{name} has the left fork")
        rt.sleep(0.01)
        with right:
            print(f"{name} eats")


def main():
    forks = [rt.Lock() for _ in NAMES]
    table = [rt.spawn(dine, name, forks[i], forks[(i + 1) % len(forks)]) for i, name in enumerate(NAMES)]
    with rt.Timeout(options.seconds or None, False):
        for philosopher in table:
            rt.wait(philosopher)
    print("nobody eats; the main greenlet gives up", flush=True)


if __name__ == "__main__":
    options = command_line(__doc__, seconds=1.0)
    rt = choose(options.runtime)
    main()
