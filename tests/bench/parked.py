"""Parked: so many greenlets, each parked on a lock, in groups of a hundred.

    greentrace record -o OUT tests/bench/parked.py GREENLETS KNOTS

In each of the first KNOTS groups two greenlets hold a lock each and wait for that of the other one, and the rest wait behind them; in
the other groups the two sleep, and the rest wait in vain only until they wake.
"""

from __future__ import annotations

import os
import sys

from greentrace import hub

GROUP = 100


def first(mine: hub.Lock, others: hub.Lock, is_knot: bool) -> None:
    with mine:
        hub.sleep(0 if is_knot else 3600)
        with others:
            pass


def behind(lock: hub.Lock) -> None:
    with lock:
        pass


def main() -> None:
    greenlets, knots = int(sys.argv[1]), int(sys.argv[2])
    for group in range(greenlets // GROUP):
        one, other = hub.Lock(), hub.Lock()
        hub.spawn(first, one, other, group < knots)
        hub.spawn(first, other, one, group < knots)
        # The two hold their locks before anybody else asks for one.
        hub.sleep(0)
        for number in range(GROUP - 2):
            hub.spawn(behind, (one, other)[number % 2])
    for _ in range(3):
        hub.sleep(0)
    # Everybody is parked; nobody who is deadlocked would let the program end.
    os._exit(0)


if __name__ == "__main__":
    main()
