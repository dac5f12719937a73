"""The report: everything that was measured, as tables, as JSON and as a figure."""
