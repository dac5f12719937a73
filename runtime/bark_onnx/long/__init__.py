"""Texts of any length: splitting, scripts, guards, joining, journal, subtitles."""
