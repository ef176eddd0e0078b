"""Names shared by the plugin and its workers. Every pytest session loads this module."""

SIGNATURE = "sway(spec, threshold=None, weights=None)"
SHARED_FOLDER = "sway_folder"
"""Key in a pytest-xdist worker's input: the folder that all workers of a session share."""
