"""Which weights stay: masks over weight tensors [outputs, inputs, ...].

A block is what is kept or zeroed together: a weight, or a vector along the input channels. Blocks
of least score go first; of equal ones the first in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def block_masks(
    tensors: Sequence[FloatArray], share: float, *, size: int = 1, together: bool = False
) -> list[Mask]:
    """Return masks that keep the blocks of largest norm.

    Args:
        tensors: Weights [outputs, inputs, ...] of each layer.
        share: Of the weights that go, 0 to below 1; each layer's, or of all together.
        size: Weights of a block, neighbours along the inputs; the last block of a row may be
            shorter, and is then judged by its mean.
        together: Rank the blocks of all layers in one order, by LAMP.

    Returns:
        True where a weight stays; shaped as the tensors.

    Source: Han 2015, arXiv 1506.02626 (magnitude); Lee 2021, arXiv 2010.07611 (LAMP).
    """
    numbered = [_blocks(tensor.shape, size) for tensor in tensors]
    scores = [_scores(tensor, blocks) for tensor, blocks in zip(tensors, numbered, strict=True)]
    counts = [np.bincount(blocks.ravel()) for blocks in numbered]
    if together:
        ranked = [_lamp(s * c) for s, c in zip(scores, counts, strict=True)]
        kept = _keep(np.concatenate(ranked), np.concatenate(counts), share)
        parts = np.split(kept, np.cumsum([len(s) for s in scores])[:-1])
    else:
        parts = [_keep(s, c, share) for s, c in zip(scores, counts, strict=True)]
    return [part[blocks] for part, blocks in zip(parts, numbered, strict=True)]


def n_of_m_mask(weights: FloatArray, kept: int, block: int) -> Mask:
    """Return a mask that keeps the `kept` largest of every `block` weights along the inputs.

    Of a last block of fewer weights the same number stays. Every other axis is independent.

    Args:
        weights: [outputs, inputs, ...].
        kept: n, less than `block`.
        block: m.

    Source: Mishra 2021, arXiv 2104.08378 (2:4).
    """
    last = np.moveaxis(np.abs(weights), 1, -1)
    inputs = last.shape[-1]
    rows = np.pad(last.reshape(-1, inputs), ((0, 0), (0, -inputs % block)), constant_values=-1)
    blocks = rows.reshape(-1, block)
    order = np.argsort(-blocks, axis=1, kind="stable")[:, :kept]
    mask = np.zeros(blocks.shape, bool)
    np.put_along_axis(mask, order, True, axis=1)
    flat = mask.reshape(len(rows), -1)[:, :inputs]
    return np.ascontiguousarray(np.moveaxis(flat.reshape(last.shape), -1, 1))


def _blocks(shape: tuple[int, ...], size: int) -> npt.NDArray[np.int64]:
    """Return the number of the block that each weight belongs to."""
    if size == 1:
        return np.arange(int(np.prod(shape))).reshape(shape)
    per_row = -(-shape[1] // size)
    rows = np.arange(shape[0] * int(np.prod(shape[2:]))).reshape(shape[0], *shape[2:])
    column = (np.arange(shape[1]) // size).reshape(1, -1, *[1] * (len(shape) - 2))
    return np.asarray(np.expand_dims(rows, 1) * per_row + column)


def _scores(weights: FloatArray, blocks: npt.NDArray[np.int64]) -> FloatArray:
    """Return the mean square of each block."""
    flat = blocks.ravel()
    return np.asarray(np.bincount(flat, weights.ravel() ** 2) / np.bincount(flat))


def _lamp(squares: FloatArray) -> FloatArray:
    """Return each square over the sum of those that are not smaller: its share of what stays."""
    order = np.argsort(squares, kind="stable")
    rest = np.cumsum(squares[order][::-1])[::-1]
    scores = np.zeros_like(squares)
    scores[order] = squares[order] / np.where(rest > 0, rest, 1)
    return scores


def _keep(scores: FloatArray, counts: npt.NDArray[np.int64], share: float) -> Mask:
    """Return which blocks stay when the least go, until `share` of the weights is gone."""
    order = np.argsort(scores, kind="stable")
    gone = np.cumsum(counts[order]) <= round(share * int(counts.sum()))
    kept = np.ones(len(scores), bool)
    kept[order[gone]] = False
    return kept
