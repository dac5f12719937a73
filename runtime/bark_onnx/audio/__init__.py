"""Audio files and loudness."""
