"""Batch jobs: the rows of a file, spoken by one process or several on one machine, and resumed after any stop."""
