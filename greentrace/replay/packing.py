"""Packing: the timeline of each greenlet, in some two bytes a change of state.

    run      the changes of one greenlet in one chapter          |c c c c ... c|c c c ...|
    block    up to `STEP` changes of a run                       |block        |block    |
             a `BLOCK` tells when its first change was, and how long the greenlet had been RUNNING and RUNNABLE until then
    change   5 bits of code, and how long after the one before, in as many bits as the block needs for a change of that sort

In:  changes of state, sorted by greenlet and then by time.
Out: the same as blocks and bits; what a greenlet was at any moment, and how long it had run until then: exact.
Never: a loop over changes; one over the `STEP` places of a block serves all blocks at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from greentrace.events import ResourceKind, State
from greentrace.replay.index import Array

STEP = 16
"""Changes of a block."""
CODE_BITS = 5
_CODES = 1 << CODE_BITS
_CODE_MASK = np.uint8(_CODES - 1)
_FIRST_PARKED = 8
PARKED_ON_UNKNOWN = _FIRST_PARKED + ResourceKind.UNKNOWN
PARKED_CODES = _FIRST_PARKED + len(ResourceKind)
"""A code is a state, or `8 + kind` for PARKED on something of that kind; this one and all that follow are none."""

STATE_OF = np.full(_CODES, State.PARKED, np.uint8)
STATE_OF[:_FIRST_PARKED] = np.arange(_FIRST_PARKED)
KIND_OF = np.zeros(_CODES, np.uint8)
KIND_OF[_FIRST_PARKED:PARKED_CODES] = np.arange(len(ResourceKind))

BLOCK = np.dtype([("t_ns", "<u8"), ("run_ns", "<u8"), ("ready_ns", "<u8"), ("bit", "<u4"), ("widths", "u1", 3), ("count", "u1")])
_RUNNING, _READY, _OTHER = 0, 1, 2
SORT_OF = np.full(_CODES, _OTHER, np.uint8)
"""What decides how many bits the time after a change takes: running and runnable are short, waits are long."""
SORT_OF[State.RUNNING], SORT_OF[State.RUNNABLE] = _RUNNING, _READY

NEVER = np.uint64((1 << 64) - 1)
_WIDEST = 51
_LONGEST = np.uint64(1 << _WIDEST)
"""What lies further apart begins a new block: a field is read as one number of 64 bits, from any bit of its first byte on."""


def codes_of(states: Array, kinds: Array) -> Array:
    """Return the codes of changes to `states`, where PARKED means a wait for something of `kinds`."""
    return np.where(states == State.PARKED, kinds + np.uint8(_FIRST_PARKED), states).astype(np.uint8)


def begins(ids: Array) -> Array:
    """Return the index of the first element of each stretch of equal numbers."""
    return np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1]))) if len(ids) else np.empty(0, np.int64)


class Packed(NamedTuple):
    """Runs: `ids` u32, ascending; their blocks begin at `starts` (one more, the end); the changes are in `bits`, u8."""

    ids: Array
    starts: Array
    blocks: Array
    bits: Array


def pack(ids: Array, t_ns: Array, codes: Array, run_ns: Array, ready_ns: Array) -> Packed:
    """Pack changes; `run_ns` and `ready_ns` tell of each run how long the greenlet had been so before its first change here."""
    count = len(ids)
    starts = begins(ids)
    if not count:
        return Packed(np.empty(0, np.uint32), np.zeros(1, np.uint32), np.empty(0, BLOCK), np.zeros(8 * (STEP + 3), np.uint8))
    index = np.arange(count)
    lasted = np.zeros(count, np.uint64)
    lasted[1:] = t_ns[1:] - t_ns[:-1]
    lasted[starts] = 0
    cut = lasted >= _LONGEST
    cut[starts] = True
    leads = (index - np.maximum.accumulate(np.where(cut, index, 0))) % STEP == 0
    first = np.flatnonzero(leads)
    sort = np.full(count, _OTHER, np.uint8)
    sort[1:] = SORT_OF[codes[:-1]]
    blocks = np.zeros(len(first), BLOCK)
    blocks["t_ns"] = t_ns[first]
    run = np.zeros(count, np.int64)
    run[starts] = 1
    run = np.cumsum(run) - 1
    for name, which, before in (("run_ns", _RUNNING, run_ns), ("ready_ns", _READY, ready_ns)):
        total = np.cumsum(np.where(sort == which, lasted, np.uint64(0)))
        # What came before the first change of a run is in `before`; `lasted` is 0 there.
        blocks[name] = total[first] - total[starts][run[first]] + before[run[first]]
    lasted[first] = 0
    block = np.cumsum(leads) - 1
    # The exponent of a float is the number of bits, or one more where the number was rounded up.
    needed = np.frexp(lasted.astype(np.float64))[1].astype(np.uint8)
    for which in (_RUNNING, _READY, _OTHER):
        blocks["widths"][:, which] = np.maximum.reduceat(np.where(sort == which, needed, np.uint8(0)), first)
    bits = blocks["widths"][block, sort].astype(np.int64) + CODE_BITS
    bits[first] = CODE_BITS
    ends = np.cumsum(bits)
    blocks["bit"] = (ends - bits)[first]
    blocks["count"] = np.diff(np.append(first, count))
    packed = _joined(ends - bits, int(ends[-1]), lasted << np.uint64(CODE_BITS) | codes.astype(np.uint64))
    return Packed(ids[starts].astype(np.uint32), np.append(np.searchsorted(first, starts), len(first)).astype(np.uint32), blocks, packed)


def _joined(offsets: Array, size: int, values: Array) -> Array:
    """Put each value at its bit; return bytes, and enough of them behind the last value to read a block there."""
    words = np.zeros((size >> 6) + STEP + 3, np.uint64)
    word, shift = offsets >> 6, (offsets & 63).astype(np.uint64)
    low = values << shift
    high = np.where(shift > 0, values >> (np.uint64(64) - shift & np.uint64(63)), np.uint64(0))
    first = begins(word)
    words[word[first]] |= np.bitwise_or.reduceat(low, first)
    words[word[first] + 1] |= np.bitwise_or.reduceat(high, first)
    return words.view(np.uint8)


class At(NamedTuple):
    """Of each question: the last change at or before its moment, how long the greenlet had been RUNNING and RUNNABLE until then, and
    when the next change of the same block is; `NEVER` if it has none."""

    t_ns: Array
    code: Array
    run_ns: Array
    ready_ns: Array
    next_ns: Array


class Arena:
    """Where packed chapters stand, one after the other, so that one question reaches them all."""

    def __init__(self, data: Array) -> None:
        """`data`: u8; blocks stand at multiples of their size in it."""
        size = len(data) // BLOCK.itemsize * BLOCK.itemsize
        self.blocks = data[:size].view(BLOCK)
        # At each byte the 64 bits from there on.
        self._words = np.ndarray((max(len(data) - 7, 0),), "<u8", data, 0, (1,))

    def last_until(self, low: Array, high: Array, t_ns: Array) -> Array:
        """Return the last block of each [low, high) whose first change is not after the moment; `low` if there is none."""
        times = self.blocks["t_ns"]
        low, high = low.copy(), high.copy()
        open_ = np.flatnonzero(high - low > 1)
        while len(open_):
            middle = (low[open_] + high[open_]) >> 1
            is_before = times[middle] <= t_ns[open_]
            low[open_[is_before]] = middle[is_before]
            high[open_[~is_before]] = middle[~is_before]
            open_ = open_[high[open_] - low[open_] > 1]
        return low

    def at(self, block: Array, base: Array, t_ns: Array) -> At:
        """Return how things were at each moment in the block that has it; `base`: the bit at which the block's chapter begins."""
        # Questions come in order: those of one block follow each other.
        first = begins(block)
        rank = np.zeros(len(block), np.int64)
        rank[first[1:]] = 1
        rank = np.cumsum(rank)
        blocks = self.blocks[block[first]]
        moments, codes = self._decoded(blocks, base[first])
        place, step = np.zeros(len(block), np.int64), STEP
        while step > 1:
            step //= 2
            place += np.where(moments[place + step, rank] <= t_ns, step, 0)
        next_ns = np.where(place < STEP - 1, moments[np.minimum(place + 1, STEP - 1), rank], NEVER)
        lasted, sorts, sums = np.diff(moments, axis=0), SORT_OF[codes[:-1]], []
        for name, sort in (("run_ns", _RUNNING), ("ready_ns", _READY)):
            total = np.empty(moments.shape, np.uint64)
            total[0] = blocks[name]
            np.cumsum(np.where(sorts == sort, lasted, np.uint64(0)), axis=0, out=total[1:])
            total[1:] += total[0]
            sums.append(total[place, rank])
        return At(moments[place, rank], codes[place, rank], sums[0], sums[1], next_ns)

    def all(self, block: Array, base: Array) -> tuple[Array, Array]:
        """Return (t_ns, code) of all changes of these blocks, block by block; `base` as above."""
        moments, codes = self._decoded(self.blocks[block], base)
        # A change that is not there is never.
        there = moments.T != NEVER
        return moments.T[there], codes.T[there]

    def _decoded(self, blocks: Array, base: Array) -> tuple[Array, Array]:
        """Return (t_ns, code) [place, block]; t_ns is `NEVER` where a block has no more changes."""
        moments, codes = np.empty((STEP, len(blocks)), np.uint64), np.zeros((STEP, len(blocks)), np.uint8)
        moments[0] = blocks["t_ns"]
        widths = np.minimum(blocks["widths"].astype(np.int64).ravel(), _WIDEST) + CODE_BITS
        masks = (np.uint64(1) << widths.view(np.uint64)) - np.uint64(1)
        own = np.arange(len(blocks)) * 3
        # What a spoilt block says may lie anywhere; from here on no field can lie outside.
        bit = np.minimum(base + blocks["bit"], max(len(self._words) * 8 - STEP * 64, 0))
        code = self._read(bit).astype(np.uint8) & _CODE_MASK
        codes[0] = code
        bit += CODE_BITS
        count = np.maximum(blocks["count"], 1)
        most = min(int(count.max(initial=1)), STEP)
        for place in range(1, most):
            at = own + SORT_OF[code]
            value = self._read(bit) & masks[at]
            np.bitwise_and(value.astype(np.uint8), _CODE_MASK, out=codes[place])
            code = codes[place]
            value >>= np.uint64(CODE_BITS)
            np.add(moments[place - 1], value, out=moments[place])
            bit += widths[at]
        moments[np.arange(STEP)[:, None] >= np.minimum(count, most)] = NEVER
        return moments, codes

    def _read(self, bit: Array) -> Array:
        """Return the 64 bits, or a few less, from each bit on."""
        return self._words[bit >> 3] >> (bit & 7).view(np.uint64)
