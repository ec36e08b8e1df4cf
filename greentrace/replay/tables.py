"""Tables: sorted rows of numbers as few bytes.

In:  arrays of structured dtypes. Out: bytes, and from them the same arrays.
Bytes from a stranger are hostile: nobody gets more memory than `MAX_ROWS` rows take.

    u32 rows of each table | zstd of every table, field by field: the first as differences, each split into its bytes' planes
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from greentrace.replay.index import Array
from greentrace.trace import deflate, inflate, planes_of, unplaned

MAX_ROWS = 1 << 25


def encode(tables: Sequence[Array]) -> bytes:
    """Return tables as bytes."""
    planes = []
    for table in tables:
        for number, name in enumerate(table.dtype.names or ()):
            column = np.ascontiguousarray(table[name])
            if column.dtype == np.bool_:
                column = column.view(np.uint8)
            if number == 0:
                column = np.diff(column, prepend=column.dtype.type(0))
            planes.append(planes_of(column))
    return struct.pack(f"<{len(tables)}I", *map(len, tables)) + deflate(b"".join(planes))


def decode(data: bytes | memoryview, dtypes: Sequence[np.dtype]) -> list[Array]:
    """Return the tables. Raises `ValueError` when the bytes are not tables of these dtypes."""
    head = 4 * len(dtypes)
    if len(data) < head:
        raise ValueError("not even the numbers of rows")
    counts = struct.unpack_from(f"<{len(dtypes)}I", data)
    if max(counts, default=0) > MAX_ROWS:
        raise ValueError(f"{max(counts)} rows")
    sizes = [sum(dtype[name].itemsize for name in dtype.names or ()) for dtype in dtypes]
    raw = inflate(data[head:], sum(count * size for count, size in zip(counts, sizes, strict=True)))
    tables, at = [], 0
    for count, dtype in zip(counts, dtypes, strict=True):
        table = np.zeros(count, dtype)
        for number, name in enumerate(dtype.names or ()):
            plain = np.dtype(np.uint8) if dtype[name] == np.bool_ else dtype[name]
            column = unplaned(raw, count, plain, at)
            at += count * plain.itemsize
            if number == 0:
                column = np.cumsum(column, dtype=plain)
            table[name] = column if plain is dtype[name] else column != 0
        tables.append(table)
    return tables
