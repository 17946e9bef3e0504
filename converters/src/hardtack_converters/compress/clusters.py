"""Optimal k-means of numbers on a line, by dynamic programming.

The cost of a cluster of neighbours follows from sums of values and of their squares. The best first
member of the last cluster rises with the number of points, so each row of the table is filled by
halves: the middle is solved first, and bounds both sides.

Source: Wang 2011, Ckmeans.1d.dp; Gronlund 2017, arXiv 1701.07204.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BINS = 4096
"""Distinct values that are told apart; more of them are first put into as many equal bins."""


def centroids(values: FloatArray, count: int) -> FloatArray:
    """Return the values that stand for all others at the least sum of squared distances.

    Args:
        values: Finite numbers.
        count: Values wanted, at least 1.

    Returns:
        At most `count` values, rising. The least sum, if no more than BINS values are distinct;
        else the least for values moved to the mean of their bin.
    """
    points, sizes = _points(values)
    if len(points) <= count:
        return points
    firsts = _partition(points, sizes, count)
    edges = np.append(firsts, len(points))
    sums = np.add.reduceat(points * sizes, firsts)
    return sums / np.add.reduceat(sizes, edges[:-1])


def nearest(values: FloatArray, book: FloatArray) -> IntArray:
    """Return the index of the nearest entry of a rising book; the lower of two as near.

    Args:
        values: Any shape.
        book: Rising.
    """
    return np.searchsorted((book[1:] + book[:-1]) / 2, values).astype(np.int64)


def codebook_bits(weights: int, entries: int, bits_of_entry: int = 32) -> int:
    """Return the bits of weights stored as indices into a codebook, and of the codebook.

    16 weights of 4 values of 32 bits: 16 * 2 + 4 * 32 = 160, where 16 * 32 = 512 were.

    Source: Han 2015, arXiv 1510.00149, figure 3.
    """
    return weights * max(entries - 1, 0).bit_length() + entries * bits_of_entry


def _points(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return distinct values, rising, and how often each occurs."""
    distinct, sizes = np.unique(values, return_counts=True)
    if len(distinct) <= BINS:
        return distinct.astype(np.float64), sizes.astype(np.float64)
    edges = np.linspace(distinct[0], distinct[-1], BINS + 1)[1:-1]
    bins = np.searchsorted(edges, distinct, side="right")
    totals = np.bincount(bins, sizes)
    sums = np.bincount(bins, sizes * distinct)
    filled = totals > 0
    return sums[filled] / totals[filled], totals[filled].astype(np.float64)


def _partition(points: FloatArray, sizes: FloatArray, count: int) -> IntArray:
    """Return the index of the first point of each of `count` clusters."""
    centred = points - np.average(points, weights=sizes)  # or the sums would lose their digits
    moments = np.zeros((3, len(points) + 1))
    np.cumsum([sizes, sizes * centred, sizes * centred**2], axis=1, out=moments[:, 1:])
    cost = _cost(moments, np.zeros(len(points), np.int64), np.arange(1, len(points) + 1))
    best = np.append(0.0, cost)
    choices = [np.zeros(len(best), np.int64)]
    for clusters in range(2, count + 1):
        best, choice = _next_row(moments, best, clusters)
        choices.append(choice)
    firsts, end = [], len(points)
    for choice in reversed(choices):
        end = int(choice[end])
        firsts.append(end)
    return np.array(firsts[::-1], np.int64)


def _cost(moments: FloatArray, first: IntArray, end: IntArray) -> FloatArray:
    """Return the squared distances of points first..end-1 to their mean."""
    size, total, squares = moments[:, end] - moments[:, first]
    return np.asarray(np.maximum(squares - total**2 / size, 0))


def _next_row(
    moments: FloatArray, before: FloatArray, clusters: int
) -> tuple[FloatArray, IntArray]:
    """Return the least cost of the first n points in one cluster more, and where its last begins.

    Args:
        moments: Sums of sizes, values and squares [3, points + 1].
        before: Least cost of the first n points in clusters - 1.
        clusters: How many now; fewer points than that cost infinity.
    """
    points = len(before) - 1
    best, choice = np.full(points + 1, np.inf), np.zeros(points + 1, np.int64)
    bounds = (clusters, points, clusters - 1, points - 1)
    todo = [tuple(np.array([bound]) for bound in bounds)]
    while todo:
        low, high, least, most = todo.pop()
        middle = (low + high) // 2
        last = np.minimum(most, middle - 1)
        length = last - least + 1
        start = np.cumsum(length) - length
        owner = np.repeat(np.arange(len(middle)), length)
        first = np.arange(int(length.sum())) - start[owner] + least[owner]
        costs = before[first] + _cost(moments, first, middle[owner])
        least_cost = np.minimum.reduceat(costs, start)
        hits = np.flatnonzero(costs == least_cost[owner])
        _, place = np.unique(owner[hits], return_index=True)
        best[middle], choice[middle] = least_cost, first[hits[place]]
        split = choice[middle]
        left, right = low < middle, middle < high
        lows = np.concatenate([low[left], middle[right] + 1])
        if len(lows):
            todo.append(
                (
                    lows,
                    np.concatenate([middle[left] - 1, high[right]]),
                    np.concatenate([least[left], split[right]]),
                    np.concatenate([split[left], most[right]]),
                )
            )
    return best, choice
