"""Definitions of public tasks, one YAML file each."""
