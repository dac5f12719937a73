"""Logits to tokens: distributions with explicit random streams, and the loops that run networks and sample."""
