"""Medians for compiled kernels, without the compile time of a general sort."""

from __future__ import annotations

from numba import njit

__all__ = ["kth_smallest", "median_in_place"]


@njit(cache=True, nogil=True)
def kth_smallest(values, count, k):  # type: ignore[no-untyped-def] # compiled
    """Value of rank `k` (0-based) among the first `count` of `values`; reorders them.

    Hoare's quickselect with the middle element as pivot: afterwards everything before `k` is
    not larger, and everything after it not smaller. NaN must not be among the values.
    """
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@njit(cache=True, nogil=True)
def median_in_place(values, count):  # type: ignore[no-untyped-def] # compiled
    """Median of the first `count` values (the mean of the middle two if even); reorders them."""
    half = count // 2
    upper = kth_smallest(values, count, half)
    if count % 2 == 1:
        return upper
    lower = values[0]
    for i in range(1, half):
        lower = max(lower, values[i])
    return (lower + upper) / 2
