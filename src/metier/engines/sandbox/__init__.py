"""Untrusted code, run in processes that can neither reach the network, the disk nor the verdict on them."""
