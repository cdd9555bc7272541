"""Copies and sorts for kernels.

numba has its own, and takes longer to compile them than a whole kernel: a copy of a slice spells
out the error of two shapes, which takes two seconds, and each sort takes one for each type.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn.cache import kernel

# So many items are sorted by insertion; neighbours that are not in order are then merged.
_SHORT = 24


@kernel
def put(out, at, items):  # type: ignore[no-untyped-def]
    """Write `items`, 1-D, to `out` from place `at` on."""
    for i in range(items.size):
        out[at + i] = items[i]


@kernel
def grown(a, n):  # type: ignore[no-untyped-def]
    """Copy of 1-D `a` with room for at least `n` items."""
    out = np.empty(max(2 * a.size, n), a.dtype)
    put(out, 0, a)
    return out


@kernel
def grown_rows(a, n):  # type: ignore[no-untyped-def]
    """Copy of 2-D `a` with room for at least `n` rows."""
    out = np.empty((max(2 * a.shape[0], n), a.shape[1]), a.dtype)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j]
    return out


@kernel
def sort_stretch(a, start, end):  # type: ignore[no-untyped-def]
    """Sort ``a[start:end]`` in place."""
    for block in range(start, end, _SHORT):
        for i in range(block + 1, min(block + _SHORT, end)):
            x = a[i]
            j = i - 1
            while j >= block and a[j] > x:
                a[j + 1] = a[j]
                j -= 1
            a[j + 1] = x
    if end - start <= _SHORT:
        return
    spare, size = np.empty(end - start, a.dtype), _SHORT
    while size < end - start:
        for left in range(start, end - size, 2 * size):
            mid, right = left + size, min(left + 2 * size, end)
            if a[mid - 1] <= a[mid]:
                continue
            for i in range(size):
                spare[i] = a[left + i]
            i, j, k = 0, mid, left
            while i < size and j < right:
                if a[j] < spare[i]:
                    a[k] = a[j]
                    j += 1
                else:
                    a[k] = spare[i]
                    i += 1
                k += 1
            while i < size:
                a[k] = spare[i]
                i += 1
                k += 1
        size *= 2


@kernel
def sort_order(order, start, end, keys):  # type: ignore[no-untyped-def]
    """Sort the places ``order[start:end]`` by their keys, in place and stable.

    The steps are those of `sort_stretch`. One kernel for both, with or without keys, made builds 3
    to 7 % slower.

    Parameters
    ----------
    order : (n,) int64, into `keys`
    start, end : int
    keys : (m,) numbers, none of them NaN
    """
    for block in range(start, end, _SHORT):
        for i in range(block + 1, min(block + _SHORT, end)):
            x = order[i]
            j = i - 1
            while j >= block and keys[order[j]] > keys[x]:
                order[j + 1] = order[j]
                j -= 1
            order[j + 1] = x
    if end - start <= _SHORT:
        return
    spare, size = np.empty(end - start, np.int64), _SHORT
    while size < end - start:
        for left in range(start, end - size, 2 * size):
            mid, right = left + size, min(left + 2 * size, end)
            if keys[order[mid - 1]] <= keys[order[mid]]:
                continue
            for i in range(size):
                spare[i] = order[left + i]
            i, j, k = 0, mid, left
            while i < size and j < right:
                if keys[order[j]] < keys[spare[i]]:
                    order[k] = order[j]
                    j += 1
                else:
                    order[k] = spare[i]
                    i += 1
                k += 1
            while i < size:
                order[k] = spare[i]
                i += 1
                k += 1
        size *= 2


@kernel
def write_order(keys, n, order):  # type: ignore[no-untyped-def]
    """Write the places of the first `n` keys to `order`, by ascending key, stable."""
    for i in range(n):
        order[i] = i
    sort_order(order, 0, n, keys)


@kernel
def stable_order(keys):  # type: ignore[no-untyped-def]
    """Places of `keys`, (n,) int64, by ascending key, stable."""
    order = np.empty(keys.size, np.int64)
    write_order(keys, keys.size, order)
    return order
