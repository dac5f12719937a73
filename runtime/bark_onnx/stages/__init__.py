"""The stages, tokens in and tokens out; the options of a generation."""
