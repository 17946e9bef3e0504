"""Compression of the float graph: passes on request, between `prepare` and calibration.

`settings` says what can be asked, `run` runs the passes and measures each; every pass is one
function in a module of its name.
"""
