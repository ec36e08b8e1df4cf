"""Queue: two producers fill a queue of four places, three consumers empty it.

What one should see: nothing wrong. Producers park on a full queue, consumers on an empty one, each wakes the other, and all end:
the main greenlet puts one None for each consumer when the producers have finished.
"""

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


ITEMS, PRODUCERS, CONSUMERS = 25, 2, 3


def produce(queue, name):
    for number in range(ITEMS):
        queue.put(f"{name}{number}")
        if number % 5 == 0:
            rt.sleep(0.002)


def consume(queue):
    eaten = 0
    while queue.get() is not None:
        eaten += 1
        rt.sleep(0.001)
    return eaten


def main():
    queue = rt.Queue(4)
    producers = [rt.spawn(produce, queue, name) for name in "ab"]
    consumers = [rt.spawn(consume, queue) for _ in range(CONSUMERS)]
    for each in producers:
        rt.wait(each)
    for _ in consumers:
        queue.put(None)
    print(f"{sum(rt.wait(each) for each in consumers)} of {ITEMS * PRODUCERS} items were consumed")


if __name__ == "__main__":
    options = command_line(__doc__)
    rt = choose(options.runtime)
    main()
