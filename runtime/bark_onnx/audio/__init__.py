"""Audio formats, encoders, files, sample rates and loudness."""
