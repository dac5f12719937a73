"""Texts of any length, whole or streamed: plans, guards, trimming, joining, journal."""
