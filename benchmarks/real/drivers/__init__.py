"""Scripts that run inside the environments of the other tools; they import nothing of this project.

Each takes two files: a request as JSON, and the report to write.
"""
