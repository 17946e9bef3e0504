"""Train the demo's model: a small CNN on the 8x8 digits that come with scikit-learn.

Needs `pip install torch scikit-learn onnx`; writes digits.onnx, calibration.npz and test.npz
into the sdk, which carries them for `hardtack demo`, and training.npz beside itself.
Seeded: it writes the same files every time on the same versions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).parent
DEMO_DATA = HERE.parents[1] / "sdk/src/hardtack/demo_data"
MEAN, STD = 4.884, 6.017


def make_model() -> nn.Module:
    """Return the untrained net: 1x8x8 pixels, already normalised, to 10 scores."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25), nn.Linear(128, 10), nn.Softmax(1),
    )  # fmt: skip


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int = 40) -> None:
    """Fit the model; its last softmax is left out of the loss, which has its own."""
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model[:-1](x[batch]), y[batch]).backward()
            optimiser.step()
        schedule.step()


def main() -> None:
    """Train, export, and keep the samples that training has not seen."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images = images[order].reshape(-1, 1, 8, 8).astype(np.uint8)
    classes = classes[order].astype(np.uint8)
    held_out = 600
    x = (torch.from_numpy(images[held_out:]).float() - MEAN) / STD
    model = make_model()
    train(model, x, torch.from_numpy(classes[held_out:]).long())
    model.eval()
    with torch.no_grad():
        test = (torch.from_numpy(images[:held_out]).float() - MEAN) / STD
        correct = model(test).argmax(1).numpy() == classes[:held_out]
    print(f"float accuracy on {held_out} held-out digits: {100 * correct.mean():.2f} %")
    torch.onnx.export(
        model, torch.zeros(1, 1, 8, 8), DEMO_DATA / "digits.onnx", dynamo=False,
        input_names=["image"], output_names=["scores"], opset_version=17,
    )  # fmt: skip
    samples = images.astype(np.float32)
    np.savez_compressed(DEMO_DATA / "calibration.npz", x=samples[held_out : held_out + 256])
    np.savez_compressed(DEMO_DATA / "test.npz", x=samples[:held_out], y=classes[:held_out])
    np.savez_compressed(HERE / "training.npz", x=samples[held_out:], y=classes[held_out:])


if __name__ == "__main__":
    main()
