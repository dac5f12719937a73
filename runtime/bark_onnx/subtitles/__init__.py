"""Subtitles: where one ends, when it is shown, and their file formats."""
