"""Quantise the transformers: formats, calibration prompts, smoothing, rounding, and the choice of formats."""
