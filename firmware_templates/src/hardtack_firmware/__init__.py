"""Firmware for microcontrollers: its C source, and what makes, builds and loads projects of it."""
