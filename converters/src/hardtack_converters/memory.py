"""The arena planner: where each activation lies, in as little memory as its lifetimes allow.

Buffers are placed first-fit, largest first. If that leaves a gap to the lower bound (the most
bytes alive at one operator), other orders are tried: the buffers that stick out go first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hardtack_runtime.operators import Rescale
from hardtack_runtime.program import Add, Concat, Lookup, Mul, Op, Port, Program

ALIGNMENT = 16
SEARCH_ROUNDS = 300


@dataclass(frozen=True, slots=True)
class Buffer:
    """A stretch of the arena.

    Attributes:
        size: Bytes, a multiple of 16.
        first: Operator that writes it; -1 for the program's inputs.
        last: Last operator that reads it; the number of operators for outputs.
    """

    size: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Return whether both are alive at some operator."""
        return self.first <= other.last and other.first <= self.last


def reads_of(op: Op) -> tuple[int, ...]:
    """Return the tensors an operator reads."""
    written = written_by(op)
    return tuple(tensor for tensor in op.tensors() if tensor != written)


def written_by(op: Op) -> int:
    """Return the tensor an operator writes."""
    return int(op.output)  # type: ignore[attr-defined]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def arena_bound(buffers: Sequence[Buffer]) -> int:
    """Return the most bytes alive at once: no plan needs less."""
    moments = {buffer.first for buffer in buffers}
    alive = [sum(b.size for b in buffers if b.first <= m <= b.last) for m in moments]
    return max(alive, default=0)


def place(buffers: Sequence[Buffer], order: Sequence[int]) -> tuple[list[int], int]:
    """Place buffers in the order given, each at the lowest offset free during its life.

    Returns:
        Offset of each buffer, and the size of the arena.
    """
    offsets = [0] * len(buffers)
    done: list[int] = []
    for index in order:
        buffer, at = buffers[index], 0
        neighbours = sorted((i for i in done if buffers[i].meets(buffer)), key=offsets.__getitem__)
        for other in neighbours:
            if at + buffer.size <= offsets[other]:
                break
            at = max(at, offsets[other] + buffers[other].size)
        offsets[index] = at
        done.append(index)
    return offsets, max((o + b.size for o, b in zip(offsets, buffers, strict=True)), default=0)


def plan(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """Return offsets and arena size, by first-fit and, where it pays, a short search."""
    bound = arena_bound(buffers)
    keys: tuple[Callable[[int], tuple[int, int]], ...] = (
        lambda i: (-buffers[i].size, buffers[i].first),
        lambda i: (-buffers[i].size * (buffers[i].last - buffers[i].first + 1), i),
        lambda i: (buffers[i].first, -buffers[i].size),
    )
    orders = [sorted(range(len(buffers)), key=key) for key in keys]
    plans = [(*place(buffers, order), order) for order in orders]
    offsets, size, order = min(plans, key=lambda p: p[1])
    current = list(order)
    for _ in range(SEARCH_ROUNDS):
        if size <= bound:
            break
        found, total = place(buffers, current)
        if total < size:
            offsets, size = found, total
        top = max(current, key=lambda i: found[i] + buffers[i].size)
        at = current.index(top)
        if at == 0:
            break
        # Half-way to the front: straight to it would only swap two buffers for ever.
        current.insert(at // 2, current.pop(at))
    return offsets, size


def plan_program(program: Program, roots: Sequence[int]) -> Program:
    """Give every arena tensor its offset and the program its arena size.

    Args:
        program: Offsets not yet given.
        roots: Per tensor, the tensor whose buffer it shares.

    Returns:
        The program with unused tensors dropped, indices following.
    """
    owner = _share_in_place(program, roots)
    lives = _lifetimes(program, owner)
    names = sorted(lives)
    offsets, size = plan([lives[name] for name in names])
    place_of = dict(zip(names, offsets, strict=True))
    tensors = tuple(
        tensor if tensor.is_constant else replace(tensor, offset=place_of.get(owner[index], 0))
        for index, tensor in enumerate(program.tensors)
    )
    return _compact(replace(program, tensors=tensors, arena_size=max(size, ALIGNMENT)))


def _share_in_place(program: Program, roots: Sequence[int]) -> list[int]:
    """Let elementwise operators write over an input that nobody reads later."""
    owner = list(roots)
    lives = _lifetimes(program, owner)
    for index, op in enumerate(program.ops):
        if not isinstance(op, (Lookup, Add, Mul, Rescale)):
            continue
        output = owner[written_by(op)]
        for read in reads_of(op):
            source = owner[read]
            if program.tensors[read].is_constant or source == output:
                continue
            equal = program.tensors[read].nbytes == program.tensors[written_by(op)].nbytes
            equal = equal and program.tensors[read].wide == program.tensors[written_by(op)].wide
            if equal and lives[source].last == index:
                owner = [source if o == output else o for o in owner]
                lives = _lifetimes(program, owner)
                break
    return owner


def _lifetimes(program: Program, owner: Sequence[int]) -> dict[int, Buffer]:
    """Return the life of each buffer that is used, by its owner."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for port in program.inputs:
        # All inputs are written before the first operator runs.
        first[owner[port.tensor]] = last[owner[port.tensor]] = -1
    for index, op in enumerate(program.ops):
        for read in reads_of(op):
            if not program.tensors[read].is_constant:
                last[owner[read]] = index
        written = owner[written_by(op)]
        first.setdefault(written, index)
        last[written] = index
    for port in program.outputs:
        last[owner[port.tensor]] = len(program.ops)
    sizes: dict[int, int] = {}
    for index, tensor in enumerate(program.tensors):
        if owner[index] in first:
            sizes[owner[index]] = max(sizes.get(owner[index], 0), _aligned(tensor.nbytes))
    return {name: Buffer(sizes[name], first[name], last[name]) for name in first}


def _compact(program: Program) -> Program:
    """Drop tensors nothing refers to."""
    used: set[int] = {port.tensor for port in (*program.inputs, *program.outputs)}
    for op in program.ops:
        used.update((*reads_of(op), written_by(op)))
    number = {old: new for new, old in enumerate(sorted(used))}
    return replace(
        program,
        tensors=tuple(t for index, t in enumerate(program.tensors) if index in used),
        ops=tuple(_renumbered(op, number) for op in program.ops),
        inputs=tuple(_moved(port, number) for port in program.inputs),
        outputs=tuple(_moved(port, number) for port in program.outputs),
    )


def _moved(port: Port, number: dict[int, int]) -> Port:
    return replace(port, tensor=number[port.tensor])


def _renumbered(op: Op, number: dict[int, int]) -> Op:
    if isinstance(op, Concat):
        inputs = tuple(number[i] for i in op.inputs)
        return replace(op, output=number[op.output], inputs=inputs)
    words = op.words()
    numbers = {index: number[words[index]] for index in range(op.operands)}
    if op.planes():
        numbers[len(words) - 1] = number[words[-1]]
    return type(op)(*(numbers.get(index, word) for index, word in enumerate(words)))
