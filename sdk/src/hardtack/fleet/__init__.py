"""The fleet: what devices there are, what they should run, and what they report."""
