"""The bundle format and the int8 runtime."""
