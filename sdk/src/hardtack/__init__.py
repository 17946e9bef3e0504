"""hardtack: from a trained model to a prediction reported by a device."""

__version__ = "0.1.0"
