"""Weights under the names of the modules, checked."""
