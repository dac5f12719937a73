"""The machine: its description, a stopwatch, and commands run as processes of their own."""
