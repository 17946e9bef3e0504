"""Fuzzers of the C runtime."""
