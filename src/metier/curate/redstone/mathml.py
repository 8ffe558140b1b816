"""MathML to TeX: what pages hold as trees, written as models read it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from metier.curate.redstone.code import text_of

if TYPE_CHECKING:
    from resiliparse.parse.html import ElementNode

_DEEPEST = 60
_NAMED = (
    "α alpha β beta γ gamma δ delta ϵ epsilon ε varepsilon ζ zeta η eta θ theta ϑ vartheta ι iota κ kappa λ lambda μ mu µ mu ν nu ξ xi "
    "π pi ϖ varpi ρ rho ϱ varrho σ sigma ς varsigma τ tau υ upsilon φ varphi ϕ phi χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda "
    "Ξ Xi Π Pi Σ Sigma Υ Upsilon Φ Phi Ψ Psi Ω Omega ∞ infty ∂ partial ∇ nabla ℓ ell ℏ hbar ℜ Re ℑ Im ℵ aleph ∅ emptyset ′ prime "
    "× times ⋅ cdot · cdot ÷ div ± pm ∓ mp ∗ ast ∘ circ • bullet ⊕ oplus ⊖ ominus ⊗ otimes ⊙ odot ⊘ oslash ∧ wedge ∨ vee ¬ neg "
    "≠ neq ≤ leq ≥ geq ≪ ll ≫ gg ≈ approx ≡ equiv ≃ simeq ∼ sim ≅ cong ∝ propto ≺ prec ≻ succ ⊥ perp ∥ parallel ∣ mid ⊢ vdash ⊨ models "
    "∈ in ∉ notin ∋ ni ⊂ subset ⊃ supset ⊆ subseteq ⊇ supseteq ∪ cup ∩ cap ⊔ sqcup ⊓ sqcap ∖ setminus ∀ forall ∃ exists ∄ nexists "
    "→ to ← leftarrow ↔ leftrightarrow ⇒ Rightarrow ⇐ Leftarrow ⇔ Leftrightarrow ↦ mapsto ↑ uparrow ↓ downarrow ⟶ longrightarrow "
    "∑ sum ∏ prod ∐ coprod ∫ int ∬ iint ∭ iiint ∮ oint ⋃ bigcup ⋂ bigcap ⨁ bigoplus ⨂ bigotimes ⋁ bigvee ⋀ bigwedge "
    "⟨ langle ⟩ rangle ⌈ lceil ⌉ rceil ⌊ lfloor ⌋ rfloor ‖ Vert … ldots ⋯ cdots ⋮ vdots ⋱ ddots † dagger ‡ ddagger ⋆ star △ triangle "
    "∠ angle √ surd ∴ therefore ∵ because"
).split()
_COMMANDS = dict(zip(_NAMED[::2], _NAMED[1::2], strict=True))
_PLAIN = {
    "−": "-",
    "‐": "-",
    "∕": "/",
    "⁄": "/",
    "∶": ":",
    "\u00a0": "~",
    "⟹": r"\implies",
    "⟺": r"\iff",
    "ⅆ": "d",
    "ⅇ": "e",
    "ⅈ": "i",
}
_INVISIBLE = "\u2061\u2062\u2063\u2064\u200b\u200c\u200d\u2060\ufeff"
_SPECIAL = {char: f"\\{char}" for char in "%#&_{}$"} | {"\\": r"\backslash", "~": r"\sim", "^": r"\hat{}"}
_IN_TEXT = {char: f"\\{char}" for char in "%#&_{}$"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_FUNCTIONS = frozenset(
    "arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim liminf limsup ln log max min Pr sec sin "
    "sinh sup tan tanh".split()
)
_STYLES = {
    "bold": "mathbf",
    "double-struck": "mathbb",
    "script": "mathcal",
    "fraktur": "mathfrak",
    "sans-serif": "mathsf",
    "monospace": "mathtt",
    "normal": "mathrm",
}
_LIMITS = frozenset("∑∏∐∫∬∭∮⋃⋂⨁⨂⋁⋀") | {"lim", "max", "min", "sup", "inf", "liminf", "limsup", "det", "gcd", "Pr"}
_OVER = {"^": "hat", "ˆ": "hat", "¯": "bar", "‾": "overline", "―": "overline", "→": "vec", "⃗": "vec", "~": "tilde", "˜": "tilde"}
_OVER |= {"˙": "dot", ".": "dot", "¨": "ddot", "⏞": "overbrace", "ˇ": "check", "˘": "breve", "´": "acute", "`": "grave"}
_UNDER = {"_": "underline", "‾": "underline", "̲": "underline", "⏟": "underbrace"}
_OPENING, _CLOSING = ("(", "[", r"\{", "|", r"\langle"), (")", "]", r"\}", "|", r"\rangle")
_TRANSPARENT = ("math", "mrow", "mstyle", "mpadded", "merror", "menclose", "maction", "mtd")


class NoTexError(ValueError):
    """A formula for which no TeX is known."""


def tex_of(element: ElementNode) -> str:
    """The TeX of a <math> element. Raises NoTexError for elements with another meaning, wrong numbers of children and trees
    deeper than 60."""
    return _tex(element, 0)


def _tex(node: ElementNode, depth: int) -> str:
    if depth > _DEEPEST:
        raise NoTexError(f"the formula is nested more than {_DEEPEST} deep")
    name = (node.tag or "").rpartition(":")[2]
    if name in _TRANSPARENT:
        return _row(node, [_tex(child, depth + 1) for child in _elements(node)])
    if name in _TOKENS:
        return _TOKENS[name](node)
    if name == "semantics":
        return _tex(_elements(node)[0], depth + 1) if _elements(node) else ""
    if name in _ARITY:
        return _shaped(name, node, [_tex(child, depth + 1) for child in _elements(node)])
    if name in ("msqrt", "mphantom"):
        return f"\\{name[1:]}{{{joined([_tex(child, depth + 1) for child in _elements(node)])}}}"
    if name == "mfenced":
        return _fenced(node, [_tex(child, depth + 1) for child in _elements(node)])
    if name == "mtable":
        return _table(node, depth)
    raise NoTexError(f"<{name}> has no TeX")


def _row(node: ElementNode, parts: list[str]) -> str:
    """The parts side by side; fences around something tall grow with it."""
    inner, elements = joined(parts[1:-1]), _elements(node)
    fenced = len(parts) > 2 and parts[0] in _OPENING and parts[-1] in _CLOSING and elements[0].tag == elements[-1].tag == "mo"
    if fenced and re.search(r"\\(?:begin|frac|sum|int|prod)", inner):
        return joined([f"\\left{parts[0]}", inner, f"\\right{parts[-1]}"])
    return joined(parts)


def joined(parts: list[str]) -> str:
    """Pieces of TeX in a row; a space where a command would run into a letter."""
    tex = ""
    for part in parts:
        tex += " " + part if re.search(r"\\[A-Za-z]+$", tex) and part[:1].isalpha() else part
    return tex


def _elements(node: ElementNode) -> list[ElementNode]:
    return list(node.children)


def _content(node: ElementNode) -> str:
    return re.sub(f"[{_INVISIBLE}]", "", " ".join(text_of(node).split()))


def _identifier(node: ElementNode) -> str:
    text, variant = _content(node), node.getattr("mathvariant") or ""
    if text in _FUNCTIONS:
        return f"\\{text}"
    tex = _symbols(text)
    style = _STYLES.get(variant)
    if style is None and len(text) > 1 and text.isalpha() and text.isascii():
        style = "mathrm"
    return f"\\{style}{{{tex}}}" if style is not None and tex and not (variant == "normal" and len(text) == 1) else tex


def _symbols(text: str) -> str:
    return joined([_symbol(char) for char in text])


def _symbol(char: str) -> str:
    if 0x1D400 <= ord(char) <= 0x1D7FF:  # letters of a style, which Unicode folds to plain ones
        import unicodedata

        return _symbol(unicodedata.normalize("NFKC", char))
    if char in _COMMANDS:
        return f"\\{_COMMANDS[char]}"
    return _PLAIN.get(char) or _SPECIAL.get(char) or char


def _operator(node: ElementNode) -> str:
    text = _content(node)
    return (
        f"\\{text}" if text in _FUNCTIONS else f"\\operatorname{{{text}}}" if len(text) > 1 and text.isalpha() else _symbols(text)
    )


def _words(node: ElementNode) -> str:
    text = re.sub(r"\s+", " ", text_of(node))
    return f"\\text{{{''.join(_IN_TEXT.get(char, char) for char in text)}}}" if text.strip() else "\\ " if text else ""


_TOKENS: dict[str, Callable[[ElementNode], str]] = {
    "mi": _identifier,
    "mn": lambda node: _symbols(_content(node)),
    "mo": _operator,
    "mtext": _words,
    "ms": _words,
    "mspace": lambda node: "\\ ",
    "none": lambda node: "",
    "mprescripts": lambda node: "",
}
_ARITY = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3}


def _shaped(name: str, node: ElementNode, parts: list[str]) -> str:
    if len(parts) != _ARITY[name]:
        raise NoTexError(f"<{name}> has {len(parts)} parts, not {_ARITY[name]}")
    base = _grouped(parts[0])
    if name == "mfrac":
        if re.fullmatch(r"0(\.0*)?[a-z]*", node.getattr("linethickness") or ""):
            return f"\\genfrac{{}}{{}}{{0pt}}{{}}{{{parts[0]}}}{{{parts[1]}}}"
        return f"\\frac{{{parts[0]}}}{{{parts[1]}}}"
    if name == "mroot":
        return f"\\sqrt[{parts[1]}]{{{parts[0]}}}"
    if name == "msub":
        return f"{base}_{{{parts[1]}}}"
    if name == "msup":
        return f"{base}^{{{parts[1]}}}" if parts[1] != r"\prime" else f"{base}'"
    if name == "msubsup":
        return f"{base}_{{{parts[1]}}}^{{{parts[2]}}}"
    return _stacked(name, _elements(node), parts)


def _grouped(tex: str) -> str:
    """A base in braces, where a script would otherwise belong to its last piece alone."""
    return tex if len(tex) == 1 or re.fullmatch(r"\\[A-Za-z]+(\{[^{}]*\})?|\d+", tex) else f"{{{tex}}}"


def _stacked(name: str, elements: list[ElementNode], parts: list[str]) -> str:
    if _content(elements[0]) in _LIMITS:
        base = parts[0]
        scripts = {"munder": "_{%s}", "mover": "^{%s}", "munderover": "_{%s}^{%s}"}[name]
        return base + scripts % tuple(parts[1:])
    tex = parts[0]
    marks = {"munder": [("under", 1)], "mover": [("over", 1)], "munderover": [("under", 1), ("over", 2)]}[name]
    for side, place in marks:
        accent = (_OVER if side == "over" else _UNDER).get(_content(elements[place]))
        tex = f"\\{accent}{{{tex}}}" if accent is not None else f"\\{side}set{{{parts[place]}}}{{{tex}}}"
    return tex


def _fenced(node: ElementNode, parts: list[str]) -> str:
    left, right, between = (
        default if node.getattr(name) is None else str(node.getattr(name)).strip()
        for name, default in (("open", "("), ("close", ")"), ("separators", ","))
    )
    marks = [char for char in between if not char.isspace()]
    inner = [parts[0]] if parts else []
    for place, part in enumerate(parts[1:]):
        inner += [_symbols(marks[min(place, len(marks) - 1)]) if marks else "", part]
    return joined([f"\\left{_symbols(left) or '.'}", joined(inner), f"\\right{_symbols(right) or '.'}"])


def _table(node: ElementNode, depth: int) -> str:
    rows = [row for row in _elements(node) if row.tag in ("mtr", "mlabeledtr")]
    lines = []
    for row in rows:
        cells = _elements(row)[1:] if row.tag == "mlabeledtr" else _elements(row)
        lines.append(" & ".join(_tex(cell, depth + 2) for cell in cells))
    return "\\begin{matrix}" + r" \\ ".join(lines) + "\\end{matrix}"
