"""What activations are like on samples."""

from __future__ import annotations

import numpy as np

from hardtack_converters.compress.activations import channel_means, sample_values
from hardtack_converters.convert import Options, open_bench
from tests.unit.converters.compress.nets import dense_net

SORTED = np.repeat(np.arange(100, dtype=np.float32), 16).reshape(100, 1, 16)


def test_few_samples_are_taken_from_all_over() -> None:
    """Files are often sorted by class: the first samples would be of one."""
    net = dense_net(np.random.default_rng(0)).SerializeToString()
    model, bench = open_bench(net, Options(calibration=SORTED))
    for limit, wanted in ((3, [0, 49, 99]), (100, range(100)), (1000, range(100))):
        values = list(sample_values(model, ["x"], bench.samples, limit))
        assert [int(one["x"][0, 0]) for one in values] == list(wanted)
    means = channel_means(model, ["x"], bench.samples, 3)["x"]
    np.testing.assert_allclose(means, (0 + 49 + 99) / 3)
