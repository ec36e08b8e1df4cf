"""Packed timelines, against the changes that they were made of."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from greentrace.events import State
from greentrace.replay.chapters import Growing
from greentrace.replay.packing import NEVER, PARKED_CODES, STATE_OF, STEP, pack

CODES = [0, 1, 2, 3, 5, 6, *range(8, PARKED_CODES)]
lasted = st.one_of(st.integers(0, 5), st.integers(0, 1 << 20), st.integers((1 << 51) - 1, 1 << 52), st.just(1 << 61))
runs_made = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 1000), st.lists(st.tuples(lasted, st.sampled_from(CODES)), min_size=1, max_size=3 * STEP)),
    min_size=1,
    max_size=5,
)


@given(made=runs_made, extra=st.lists(st.integers(0, 1 << 62), max_size=5))
@settings(deadline=None, max_examples=150)
def test_what_is_packed_is_found_again_to_the_nanosecond(made: list[tuple[int, int, list[tuple[int, int]]]], extra: list[int]) -> None:
    # One run a greenlet, ids ascending; the moments of a run add up, and stay below 2^64.
    runs: list[tuple[int, list[tuple[int, int]]]] = []
    number = 0
    for step, begin, changes in made:
        number += step
        t, run = begin, []
        for ns, code in changes:
            t = min(t + ns, (1 << 63) - 1)
            run.append((t, code))
        runs.append((number, run))
    ids = np.array([number for number, run in runs for _ in run], np.uint32)
    t_ns = np.array([t for _, run in runs for t, _ in run], np.uint64)
    codes = np.array([code for _, run in runs for _, code in run], np.uint8)
    before = np.arange(len(runs), dtype=np.uint64) * np.uint64(1000)
    packed = pack(ids, t_ns, codes, before, before + np.uint64(7))
    shelf = Growing()
    shelf.put(pack(ids[:1], t_ns[:1], codes[:1], before[:1], before[:1]))
    first, base = shelf.put(packed)
    arena = shelf.arena
    assert packed.ids.tolist() == [number for number, _ in runs]
    blocks = np.arange(first, first + len(packed.blocks))
    found_t, found_codes = arena.all(blocks, np.full(len(blocks), base))
    assert found_t.tolist() == t_ns.tolist()
    assert found_codes.tolist() == codes.tolist()
    for row, (_, run) in enumerate(runs):
        low, high = int(packed.starts[row]) + first, int(packed.starts[row + 1]) + first
        moments = sorted({t + more for t, _ in run for more in (0, 1)} | {t for t in extra if t >= run[0][0]})
        asked = np.array(moments, np.uint64)
        block = arena.last_until(np.full(len(asked), low), np.full(len(asked), high), asked)
        at = arena.at(block, np.full(len(asked), base), asked)
        for i, moment in enumerate(moments):
            last = max(index for index, (t, _) in enumerate(run) if t <= moment)
            assert (int(at.t_ns[i]), int(at.code[i])) == run[last]
            for state, sums, start in ((State.RUNNING, at.run_ns, before[row]), (State.RUNNABLE, at.ready_ns, before[row] + np.uint64(7))):
                spent = sum(b[0] - a[0] for a, b in itertools.pairwise(run[: last + 1]) if STATE_OF[a[1]] == state)
                assert int(sums[i]) == spent + int(start)
            # The next change is told as far as it stands in the same block.
            assert at.next_ns[i] == NEVER or int(at.next_ns[i]) == run[last + 1][0]


def test_a_spoilt_block_is_read_as_something_and_never_beyond_the_arena() -> None:
    rng = np.random.default_rng(1)
    shelf = Growing()
    first, base = shelf.put(
        pack(np.full(90, 1, np.uint32), np.arange(90, dtype=np.uint64), np.full(90, 2, np.uint8), *np.zeros((2, 1), np.uint64))
    )
    for _ in range(200):
        shelf.arena.blocks.view(np.uint8)[first * 32 : first * 32 + 96] = rng.integers(0, 256, 96)
        t_ns, codes = shelf.arena.all(np.arange(first, first + 3), np.full(3, base))
        assert len(t_ns) == len(codes) <= 3 * STEP
        at = shelf.arena.at(np.arange(first, first + 3), np.full(3, base), np.full(3, 50, np.uint64))
        assert (at.code < PARKED_CODES + 8).all()
