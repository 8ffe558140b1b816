"""The parts of engines/data/extract.py: bytes to characters, a page to blocks of text, and the blocks that are its content."""
