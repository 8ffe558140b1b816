"""Submissions of a corpus to rows of documents, lazily: a submission at a time is taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metier.artifacts import Corpus
from metier.curate.beancounter.submission import NO_DOCUMENT, base_form, read_header, split_submission
from metier.curate.beancounter.text import readable_text

if TYPE_CHECKING:
    import daft
    import pyarrow as pa

TOO_SHORT, ONLY_TABLES = "too short", "no text but tables"
COLUMNS = ("accession", "filename", "type_filing", "type_attachment", "form_type", "ts_accept", "company", "cik")
_MADE = ("id", "text", "drop_reason", *COLUMNS)
_SUBMISSIONS_AT_ONCE = 8  # one may hold hundreds of megabytes


def documents_of(row: Mapping[str, Any], *, keep_tables: bool, min_chars: int) -> list[dict[str, str | None]]:
    """The rows that a submission (id, text) becomes: one a document, marked where it is no text; one for a text that is none."""
    header, attachments = read_header(row["text"]), split_submission(row["text"])
    if not attachments:
        return [dict.fromkeys(_MADE) | {"id": row["id"], "text": row["text"], "drop_reason": NO_DOCUMENT}]
    made = []
    for number, attachment in enumerate(attachments, start=1):
        text = readable_text(attachment.content, keep_tables=keep_tables) if attachment.reason is None else ""
        reason = attachment.reason or (ONLY_TABLES if not text else TOO_SHORT if len(text) < min_chars else None)
        made.append(
            {
                "id": f"{row['id']}#{number:04d}",
                "text": text,
                "drop_reason": reason,
                "accession": header.accession,
                "filename": attachment.filename or None,
                "type_filing": header.type_filing,
                "type_attachment": attachment.type_attachment or None,
                "form_type": base_form(header.type_filing),
                "ts_accept": header.ts_accept,
                "company": header.company,
                "cik": header.cik,
            }
        )
    return made


def documents(submissions: Corpus, *, keep_tables: bool, min_chars: int) -> Corpus:
    """The documents of all submissions; rows that were dropped or could not be read before stay as they are."""
    import daft

    frame = submissions.frame()
    for mark in ("drop_reason", "error"):
        if mark not in frame.column_names:
            frame = frame.with_column(mark, daft.lit(None).cast(daft.DataType.string()))
    others = [frame[name] for name in frame.column_names if name not in _MADE]

    @daft.func.batch(return_dtype=daft.DataType.from_arrow_type(_made_type()), batch_size=_SUBMISSIONS_AT_ONCE)
    def taken_apart(ids: daft.Series, texts: daft.Series, reasons: daft.Series, errors: daft.Series) -> pa.Array:
        import pyarrow as pa

        made = []
        for name, text, reason, error in zip(*(column.to_pylist() for column in (ids, texts, reasons, errors)), strict=True):
            if reason is not None or error is not None:
                made.append([dict.fromkeys(_MADE) | {"id": name, "text": text, "drop_reason": reason}])
            else:
                made.append(documents_of({"id": name, "text": text}, keep_tables=keep_tables, min_chars=min_chars))
        return pa.array(made, _made_type())

    made = taken_apart(frame["id"], frame["text"], frame["drop_reason"], frame["error"]).alias("_made")
    exploded = frame.select(made, *others).explode("_made")
    return Corpus(
        exploded.select(*[exploded["_made"][name].alias(name) for name in _MADE], *[column.name() for column in others])
    )


def _made_type() -> pa.DataType:
    import pyarrow as pa

    return pa.large_list(pa.struct([pa.field(name, pa.large_string()) for name in _MADE]))
