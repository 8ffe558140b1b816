"""Plain data as JSON, the only thing that crosses between confined processes: no object, no code, no equality of somebody's own.

None, truth values, numbers (nan and the infinities too), strings, bytes, lists, tuples, sets, frozensets and dictionaries of those, told apart on
the other side. An instance of a subclass arrives as what it is built on: a Counter as a dict, a namedtuple as a tuple.
"""

from __future__ import annotations

from typing import Any

TAGS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "bytes": bytes, "bytearray": bytearray}


class NotPlainError(TypeError):
    """A value that cannot cross."""


def encode(value: Any) -> Any:
    """The value as what json.dumps takes. Raises NotPlainError naming the type that cannot cross, RecursionError for one too deep."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) >> 63:
        return {"int": hex(value)}  # JSON's decimal digits are limited to a few thousand
    for base in (int, float, str):
        if isinstance(value, base):
            return base.__new__(base, value)  # type: ignore[type-var]  # of a subclass's own methods none is asked
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {type(value).__name__ if type(value).__name__ in TAGS else "bytes": value.decode("latin-1")}
    for tag in ("tuple", "frozenset", "set"):
        if isinstance(value, TAGS[tag]):
            return {tag: [encode(item) for item in value]}
    raise NotPlainError(
        f"a {type(value).__name__} cannot cross between processes: only plain data can (numbers, text, lists, dictionaries)"
    )


def decode(value: Any) -> Any:
    """What `encode` was given. Raises ValueError for JSON that it did not write."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError(f"no plain data: an object of {len(value)} entries")
    tag, content = next(iter(value.items()))
    try:
        if tag == "dict":
            return {decode(key): decode(item) for key, item in content}
        if tag == "int":
            return int(content, 16)
        if tag == "complex":
            return complex(*content)
        if tag in ("bytes", "bytearray"):
            return TAGS[tag](content.encode("latin-1"))
        return TAGS[tag](decode(item) for item in content)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no plain data: {tag} of {type(content).__name__}") from error
