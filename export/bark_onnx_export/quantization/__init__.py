"""Quantise the transformers: calibration prompts, smoothing, rounding, choice of formats."""
