"""Reports: pure functions from a `GateResult` to text.

No module imports torch; numpy is loaded only with matplotlib.
"""
