"""Numbers, dates, symbols and other writing that Bark reads badly, as words; read normalizer.py first."""
