"""Graphs for people: which part is shown, and as what. Pure."""
