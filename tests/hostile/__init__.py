"""A corpus of hostile inputs: one module per family, each a table of cases."""
