"""What flows between stages. Each is an open format that opens without metier, and converts to other libraries on demand.

Corpus, Examples, Items, Scores are tables (Parquet); Model is a folder that from_pretrained opens; Report is a folder with HTML.
"""

from metier.artifacts.comparison import Comparison, Verdict
from metier.artifacts.files import atomic_folder, atomic_write
from metier.artifacts.model import Model
from metier.artifacts.report import Report
from metier.artifacts.scores import Scores
from metier.artifacts.table import Batch, Corpus, Examples, Funnel, Items, Table

__all__ = [
    "Batch",
    "Comparison",
    "Corpus",
    "Examples",
    "Funnel",
    "Items",
    "Model",
    "Report",
    "Scores",
    "Table",
    "Verdict",
    "atomic_folder",
    "atomic_write",
]
