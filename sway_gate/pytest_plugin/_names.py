"""Names that the plugin and its workers share. Imports nothing, because every pytest session loads it."""

SIGNATURE = "sway(spec, threshold=None, weights=None)"
SHARED_FOLDER = "sway_folder"
"""Key in a pytest-xdist worker's input: a folder that all workers of a session share."""
