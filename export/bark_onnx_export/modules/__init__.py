"""The networks as torch modules that are written for export."""
