"""A bundle on the Hugging Face hub: its model card, and its upload. Needs no torch."""
