"""Names of the operators in C, and the table that keeps unused kernels out of a firmware."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hardtack_runtime.packing import Coding

NAMES = {
    1: "conv_2d",
    2: "depthwise_conv_2d",
    3: "fully_connected",
    4: "add",
    5: "mul",
    6: "concat",
    7: "pad",
    8: "max_pool_2d",
    9: "average_pool_2d",
    10: "mean",
    11: "transpose",
    12: "softmax",
    13: "lookup",
    14: "rescale",
    15: "conv_2d_s16",
    16: "depthwise_conv_2d_s16",
    17: "fully_connected_s16",
    18: "add_s16",
    19: "mul_s16",
    20: "concat_s16",
    21: "pad_s16",
    22: "max_pool_2d_s16",
    23: "average_pool_2d_s16",
    24: "mean_s16",
    25: "transpose_s16",
}
"""By opcode (SPEC section 2); in C, operator `add` is the entry `ht_operator_add`."""


IN_PLACE = {
    Coding.SPARSE: "in_place_sparse",
    Coding.PACKED: "in_place_packed",
    Coding.SPARSE_COLUMNS: "in_place_sparse_columns",
}
"""Entries of codings that are used where they lie; in C, `ht_in_place_sparse`."""


XNOR = "in_place_xnor"
"""Entry of packed weights where some are binary, and their inputs too (`usage.binary_sums`)."""


def table_source(
    opcodes: Iterable[int],
    codings: Collection[Coding] = (),
    *,
    split: bool = False,
    xnor: bool = False,
) -> str:
    """Return the C file that takes the place of `csrc/src/ht_operators.c`.

    Args:
        opcodes: Of the operators that the firmware's models use.
        codings: That their weights have.
        split: Whether any have a high plane.
        xnor: Whether products of any packed ones are counted.

    Raises:
        KeyError: an opcode that does not exist.
    """
    lines = [f"    [{opcode}] = &ht_operator_{NAMES[opcode]}," for opcode in sorted(set(opcodes))]
    entries = [
        f"    [HT_{coding.name} - HT_SPARSE] = &ht_{entry},"
        for coding, entry in (IN_PLACE | ({Coding.PACKED: XNOR} if xnor else {})).items()
        if coding in codings
    ]
    plane = "&ht_split_planes" if split else "0"
    return "\n".join(
        (
            "/* Generated: the operators that this firmware's models use; others are absent. */",
            '#include "hardtack/ht_operators.h"',
            "",
            "const ht_operator_entry *const ht_operators[HT_OPERATORS] = {",
            *(lines or ["    0,"]),
            "};",
            "",
            "const ht_in_place_entry *const ht_in_place[HT_IN_PLACE_END - HT_SPARSE] = {",
            *(entries or ["    0,"]),
            "};",
            "",
            f"const ht_split_entry *const ht_split = {plane};",
            "",
        )
    )
