"""Training with the size of the bundle in the loss; needs torch (the extra `train`)."""
