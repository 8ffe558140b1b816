"""Formulas of web pages as LaTeX: MathML with or without its annotation, MathJax scripts, KaTeX, pictures with their source."""

from __future__ import annotations

import re
from typing import Any

_SOURCES = frozenset("mwe math latex tex".split())  # names of pictures and wrappers whose `alt`, or MathML inside, is a formula
_WORD = re.compile(r"[a-z]+")
_TEX = re.compile(r"application/x-(?:la)?tex")
_SIGNS = {"∑": r"\sum", "∫": r"\int", "∏": r"\prod", "∞": r"\infty", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "×": r"\times"}
_SIGNS |= {"⋅": r"\cdot", "±": r"\pm", "∈": r"\in", "→": r"\to", "√": r"\surd", "∂": r"\partial", "−": "-", "α": r"\alpha"}
_SIGNS |= {"β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\epsilon", "θ": r"\theta", "λ": r"\lambda", "μ": r"\mu"}
_SIGNS |= {"π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "φ": r"\phi", "ω": r"\omega", "Σ": r"\Sigma", "Ω": r"\Omega"}
_SIGNS |= {"⁢": "", "⁡": "", "{": r"\{", "}": r"\}", "%": r"\%"}
_SHAPES = {
    "mfrac": r"\frac{%s}{%s}",
    "msup": "{%s}^{%s}",
    "msub": "{%s}_{%s}",
    "msubsup": "{%s}_{%s}^{%s}",
    "munder": "{%s}_{%s}",
    "mover": "{%s}^{%s}",
    "munderover": "{%s}_{%s}^{%s}",
}
_DEEPEST = 100


def formula(element: Any, tag: str) -> str | None:
    """The formula that an element stands for, between dollars (two where it is set apart), "" for an empty one; None for no formula."""
    if tag == "math":
        return _dollars(_from_math(element), element.get("display") == "block")
    if tag == "script":
        kind = element.get("type") or ""
        return _dollars(element.text or "", "display" in kind) if kind.startswith("math/tex") else None
    if tag in ("img", "span", "div") and (names := element.get("class")):
        if _SOURCES.isdisjoint(_WORD.findall(names.lower())):
            return None
        if tag == "img":
            return _dollars(element.get("alt") or "", "display" in names)
        if "mwe-math-element" in names and (inner := element.find(".//math")) is not None:
            return _dollars(_from_math(inner), inner.get("display") == "block")
    return None


def _dollars(tex: str, apart: bool) -> str:
    tex = " ".join(tex.split())
    if (inner := re.fullmatch(r"\{\\displaystyle (.*)\}", tex)) is not None:
        tex = inner[1].strip()
    return "" if not tex else f"$${tex}$$" if apart else f"${tex}$"


def _from_math(element: Any) -> str:
    for note in element.iter("annotation"):
        if _TEX.match(note.get("encoding") or "") and note.text:
            return str(note.text)
    return element.get("alttext") or _latex(element, 0)


def _latex(element: Any, depth: int) -> str:
    """Presentation MathML as LaTeX: fractions, roots, indices, tables; the rest as its text, one piece after the other."""
    if depth > _DEEPEST or element.tag in ("annotation", "annotation-xml"):
        return ""
    parts = [_latex(child, depth + 1) for child in element]
    tag = element.tag
    if tag == "mroot" and len(parts) == 2:
        return rf"\sqrt[{parts[1]}]{{{parts[0]}}}"
    if tag in _SHAPES and len(parts) == (3 if tag in ("msubsup", "munderover") else 2):
        return _SHAPES[tag] % tuple(parts)
    if tag == "mtable":
        return r"\begin{matrix}" + r" \\ ".join(parts) + r"\end{matrix}"
    if tag == "mtr":
        return " & ".join(parts)
    inner = "".join(parts) if parts else _signs((element.text or "").strip())
    if tag == "msqrt":
        return rf"\sqrt{{{inner}}}"
    if tag == "mtext":
        return rf"\text{{{inner}}}"
    if tag == "mfenced":
        return f"{element.get('open', '(')}{','.join(parts)}{element.get('close', ')')}"
    return inner


def _signs(text: str) -> str:
    if len(text) > 1 and text.isalpha() and text.isascii():
        return rf"\operatorname{{{text}}}"
    return "".join(f"{_SIGNS[sign]} " if len(_SIGNS.get(sign, "")) > 2 else _SIGNS.get(sign, sign) for sign in text)
