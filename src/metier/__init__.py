"""metier makes a specialist of a pretrained language model from a pile of documents, and proves that it is one."""

__version__ = "0.1.0"
