"""nano: the recipe of the small demonstration voice. MODEL_CARD.md describes the voice; `__main__` runs the recipe."""
