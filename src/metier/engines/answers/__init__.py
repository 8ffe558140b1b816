"""Answers found in what a model wrote, and compared with what was expected."""
