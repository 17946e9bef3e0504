"""Where a device unpacks the weights of a bundle, and what memory that takes (SPEC section 6.5)."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from hardtack_runtime.bundle import Bundle
from hardtack_runtime.packing import Coding, unpacked_bytes
from hardtack_runtime.program import Program

_RECORD = 64
_WRITE_UNIT = 32


class Way(enum.Enum):
    """Where weights are unpacked, in words."""

    MEMORY = "to memory"
    FLASH = "to flash"
    LAYERS = "to memory, layer by layer"


@dataclass(frozen=True, slots=True)
class Needs:
    """What running a bundle takes, in bytes.

    Attributes:
        arena: For activations.
        unpacked: For all coded constants, unpacked.
        layer: For those of any one operator.
        tensor: For any one of them with those folded behind it.
    """

    arena: int
    unpacked: int
    layer: int
    tensor: int

    @classmethod
    def of(cls, bundle: Bundle) -> Needs:
        """Return those of a bundle."""
        constants = [i for i, t in enumerate(bundle.program.tensors) if t.data is not None]
        stored = zip(constants, bundle.stored, strict=True)
        coding = {i: one.coding for i, one in stored if one.coding.is_unpacked}
        folded = {i for i, one in coding.items() if one == Coding.FOLDED}
        return cls.when_coded(bundle.program, coding, folded)

    @classmethod
    def when_coded(
        cls, program: Program, coded: Collection[int], folded: Collection[int] | None = None
    ) -> Needs:
        """Return those of a program of which the tensors with these indices are coded.

        Args:
            program: What is to run.
            coded: Indices of tensors.
            folded: Those of them that lean on the one before; None: any int32 ones may.
        """
        data = {i: d for i in sorted(coded) if (d := program.tensors[i].data) is not None}
        if folded is None:
            folded = {i for i, numbers in data.items() if numbers.dtype == np.int32}
        sizes = {i: unpacked_bytes(numbers) for i, numbers in data.items()}
        layers = (sum(sizes.get(i, 0) for i in op.tensors()) for op in program.ops)
        largest = together = 0
        for i, tensor in enumerate(program.tensors):
            if tensor.data is not None:
                together = sizes.get(i, 0) + (together if i in folded else 0)
                largest = max(largest, together)
        return cls(program.arena_size, sum(sizes.values()), max(layers, default=0), largest)

    def way(self, pool: int, region: int = 0) -> Way | None:
        """Return what a device chooses; None: it has no room.

        Args:
            pool: Bytes of memory for arena and weights.
            region: Bytes of flash for unpacked weights.
        """
        if self.arena + self.unpacked <= pool:
            return Way.MEMORY
        if self._fits_flash(region) and self._for_flash <= pool:
            return Way.FLASH
        return Way.LAYERS if self.arena + self.layer <= pool else None

    def least(self, region: int = 0) -> int:
        """Return the smallest pool that will do."""
        to_memory = self.arena + min(self.unpacked, self.layer)
        return min(to_memory, self._for_flash) if self._fits_flash(region) else to_memory

    def taken(self, way: Way | None) -> int:
        """Return the bytes of the pool that are in use, that way."""
        weights = {Way.MEMORY: self.unpacked, Way.LAYERS: self.layer}
        return self.arena + (weights.get(way, 0) if way else 0)

    @property
    def region(self) -> int:
        """Bytes of flash that unpacked weights take there."""
        return self.unpacked + _RECORD

    def _fits_flash(self, region: int) -> bool:
        return self.region <= region

    @property
    def _for_flash(self) -> int:
        return max(self.arena, self.tensor + _WRITE_UNIT)


def coded_tensors(bundle: Bundle) -> set[int]:
    """Return the indices of the tensors that must be unpacked."""
    constants = [i for i, t in enumerate(bundle.program.tensors) if t.data is not None]
    stored = zip(constants, bundle.stored, strict=True)
    return {i for i, one in stored if one.coding.is_unpacked}


def raw_for_layers(program: Program, coded: Collection[int], limit: int) -> set[int]:
    """Return which of the coded tensors to keep raw so that any operator's unpack to `limit`."""
    sizes = {i: unpacked_bytes(d) for i in coded if (d := program.tensors[i].data) is not None}
    raw = set[int]()
    for op in program.ops:
        own = sorted((i for i in op.tensors() if i in sizes), key=sizes.__getitem__)
        while sum(sizes[i] for i in own if i not in raw) > limit:
            raw.add(own.pop())
    return raw
