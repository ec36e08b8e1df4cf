"""Timeout: it looks like the deadlock of two locks, but one of the two does not wait for ever.

What one should see: for 200 ms a cycle in the wait-for graph, carol on dave's lock and dave on carol's, and yet no deadlock: carol
waits under a Timeout. It strikes, carol lets go of her lock, dave gets it, and everybody finishes.
"""

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


def carol(first, second):
    with first:
        rt.sleep(0.01)
        with rt.Timeout(0.2, False):
            with second:
                print("carol has both")
            return
        print("carol gives way")


def dave(first, second):
    with second:
        rt.sleep(0.01)
        with first:
            print("dave has both")


def main():
    first = rt.Lock()
    second = rt.Lock()
    for each in [rt.spawn(carol, first, second), rt.spawn(dave, first, second)]:
        rt.wait(each)
    print("everybody has finished")


if __name__ == "__main__":
    options = command_line(__doc__)
    rt = choose(options.runtime)
    main()
