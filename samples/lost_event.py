"""Lost event: somebody waits for an Event object that nobody will ever set, while others work.

What one should see: `waiting` parked on the Event object, without a deadline, long after everybody who could have set it has
finished. That is no proven deadlock, for whoever can reach the object may set it yet: it is stuck, the honest weaker word. The main
greenlet gives up after a second (`--for SECONDS`).
"""

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


def waiting(done):
    done.wait()
    print("it was set after all")


def working(number):
    for _ in range(number):
        rt.sleep(0.01)


def main():
    done = rt.Event()
    lost = rt.spawn(waiting, done)
    for each in [rt.spawn(working, number) for number in (5, 10, 20)]:
        rt.wait(each)
    with rt.Timeout(options.seconds or None, False):
        rt.wait(lost)
    print("the work is done, and still somebody waits; the main greenlet gives up", flush=True)


if __name__ == "__main__":
    options = command_line(__doc__, seconds=1.0)
    rt = choose(options.runtime)
    main()
