"""Deadlock: two green threads take two locks in opposite order.

Alice has the lock of the savings and wants that of the current account; bob has it the other way round. Neither will ever
go on, and nobody says so: eventlet and the built-in hub wait in silence; gevent does too as long as anything else lives, and
raises LoopExit in the main greenlet only when nothing does.

What one should see: alice and bob deadlocked, each on the lock that the other holds, from the moment when the second of them
asked. The main greenlet waits for alice but is no victim: it gives up after a second (`--for SECONDS`, 0 waits for ever).
"""

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


def alice(savings, current):
    with savings:
        rt.sleep(0.01)
        with current:
            print("alice has moved 10 from savings to current")


def bob(savings, current):
    with current:
        rt.sleep(0.01)
        with savings:
            print("bob has moved 10 from current to savings")


def main():
    savings = rt.Lock()
    current = rt.Lock()
    movers = [rt.spawn(alice, savings, current), rt.spawn(bob, savings, current)]
    with rt.Timeout(options.seconds or None, False):
        for mover in movers:
            rt.wait(mover)
    print("alice and bob are deadlocked; the main greenlet gives up", flush=True)


if __name__ == "__main__":
    options = command_line(__doc__, seconds=1.0)
    rt = choose(options.runtime)
    main()
