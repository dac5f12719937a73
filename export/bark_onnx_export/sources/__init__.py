"""The files of a checkpoint: its directory, its configuration, its tensors."""
