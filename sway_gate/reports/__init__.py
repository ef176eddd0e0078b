"""Reports: pure functions from a `GateResult` to text.

None imports torch; numpy is imported only where matplotlib draws.
"""
