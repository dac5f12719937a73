"""Models on the Hugging Face hub: names, files, downloads into the hub's own cache, and what went wrong."""
