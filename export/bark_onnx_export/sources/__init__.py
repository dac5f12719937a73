"""Where a checkpoint comes from: a directory or the hub, its files, its configuration."""
