"""Fuzzers: random and mutated files for each reader of untrusted input."""
