"""From a trained model to a program for the hardtack runtime."""
