"""Judging: word errors and other figures of a bundle, by stage and by precision, and the choice of the presets."""
