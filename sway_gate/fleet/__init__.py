"""Many gates on many machines: plan them, run them on workers, collect one report.

A worker judges the gates of one base, which it loads once. `plan` and `driver` know nothing of Ray;
`ray_pool` is the only module that imports it.
"""
