"""Two threads: two OS threads, each with a hub of its own and greenlets of its own.

What one should see: two threads, two hubs, three `tick` greenlets in each, and never a switch from one thread to the other.
"""

import threading

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


def tick(name):
    for _ in range(10):
        rt.sleep(0.005)
    return name


def run(name, results):
    ticking = [rt.spawn(tick, f"{name}{number}") for number in range(3)]
    results[name] = [rt.wait(each) for each in ticking]


def main():
    results = {}
    threads = [threading.Thread(target=run, args=(name, results), name=name) for name in ("east", "west")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*results["east"], *results["west"])


if __name__ == "__main__":
    options = command_line(__doc__)
    rt = choose(options.runtime)
    main()
