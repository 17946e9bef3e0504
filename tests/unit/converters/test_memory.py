"""The arena planner."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hardtack_converters.memory import Buffer, arena_bound, place, plan


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    made = []
    for _ in range(draw(st.integers(1, 12))):
        first = draw(st.integers(-1, 10))
        size = 16 * draw(st.integers(1, 40))
        made.append(Buffer(size, first, first + draw(st.integers(0, 4))))
    return made


@given(buffers())
def test_buffers_alive_together_never_overlap(made: list[Buffer]) -> None:
    offsets, size = plan(made)
    for i, one in enumerate(made):
        assert offsets[i] % 16 == 0
        assert offsets[i] + one.size <= size
        for j in range(i):
            if one.meets(made[j]):
                assert (
                    offsets[i] + one.size <= offsets[j] or offsets[j] + made[j].size <= offsets[i]
                )


@given(buffers())
def test_plan_is_never_below_the_bound_nor_above_first_fit(made: list[Buffer]) -> None:
    _, size = plan(made)
    by_size = sorted(range(len(made)), key=lambda i: (-made[i].size, made[i].first))
    assert arena_bound(made) <= size <= place(made, by_size)[1]


def test_a_chain_takes_its_two_largest_neighbours() -> None:
    chain = [Buffer(64, -1, 0), Buffer(160, 0, 1), Buffer(96, 1, 2), Buffer(16, 2, 3)]
    assert plan(chain)[1] == 256
