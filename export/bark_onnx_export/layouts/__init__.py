"""The layouts of a checkpoint: Hugging Face's and Suno's."""
