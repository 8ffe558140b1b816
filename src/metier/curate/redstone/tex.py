"""Whether a formula is TeX that parses, and which commands tell that a text is mathematics."""

from __future__ import annotations

import re

# What mathematics is written with; commands that are also names of folders (text, temp, users, bin) are left out on purpose.
COMMANDS = frozenset(
    "acute alpha approx ast bar begin beta big bigcap bigcirc bigcup bigoplus bigotimes binom breve bullet cap cdot cdots centerdot check chi "
    "circ cong coprod cos cup dagger ddot delta det dfrac displaystyle div dot dotplus downarrow ell epsilon equiv eta exists exp "
    "forall frac frown gamma geq gets gg grave hat hbar idotsint iiiint iiint iint in inf infty int iota kappa lambda land langle ldots "
    "left leftarrow leq lim ll ln lnot log lor ltimes mathbb mathbf mathcal mathring mathrm max mid min mp mu nabla ne neq nu odot oint "
    "omega ominus operatorname oplus oslash otimes overline partial perp phi pi pm pmod prec preccurlyeq prime prod propto psi rangle "
    "rho right rightarrow rtimes setminus sigma sim simeq sin smile sqcup sqrt star subset subseteq sum sup supset tan tau tfrac theta "
    "tilde times to triangleleft triangleright underline uparrow varepsilon varphi vartheta vec vee wedge wr xi zeta".split()
)
_COMMAND = re.compile(r"\\([A-Za-z]{2,20})(?![A-Za-z])")
_DELIMITERS = (("$$", "$$", True), (r"\[", r"\]", True), (r"\(", r"\)", False), ("$", "$", False))
_PIECE = re.compile(r"\\(?:begin|end)\s*\{([^{}]*)\}|\\([A-Za-z]+)|\\(.)|([{}$^_])|(\S)", re.DOTALL)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*\n?")
_OPERATORS = re.compile(r"[=<>^_+*/|$]|\\\(|\\\[")


def commands_in(text: str) -> set[str]:
    """The distinct commands of mathematics in a text, in lower case as they are compared."""
    return {found.lower() for found in _COMMAND.findall(text)} & COMMANDS


def has_operator(text: str) -> bool:
    """Whether a text holds an operator or a delimiter of formulas."""
    return _OPERATORS.search(text) is not None


def bare(tex: str) -> tuple[str, bool]:
    """A formula without its delimiters and comments, in one line with single spaces; and whether its delimiters display it on a line of its own."""
    display = False
    for left, right, displayed in _DELIMITERS:
        inner = tex.strip()
        if inner.startswith(left) and inner.endswith(right) and len(inner) >= len(left) + len(right):
            tex, display = inner[len(left) : len(inner) - len(right)], displayed
            break
    return re.sub(r"^ | $(?<!\\ )", "", re.sub(r"\s+", " ", _COMMENT.sub(r"\1", tex))), display  # "\\ " is a space of its own


def parses(tex: str) -> bool:
    r"""Whether groups, environments, \left and \right, and inner $ close in the order in which they opened, every script has something
    to hold, and no backslash stands last. A formula of nothing does not parse."""
    open_: list[str] = []
    script = False
    pieces = list(_PIECE.finditer(tex))
    for piece in pieces:
        environment, command, escaped, mark, _ = piece.groups()
        closes = mark == "}" or command == "right" or (piece[0].startswith(r"\end") and environment is not None)
        if script and (closes or mark in ("^", "_", "$")):
            return False
        script = mark in ("^", "_")
        if closes:
            wanted = "{" if mark == "}" else r"\left" if command == "right" else f"begin {environment}"
            if not open_ or open_.pop() != wanted:
                return False
        elif mark == "$":
            if not _toggle(open_):
                return False
        elif mark == "{" or command == "left" or environment is not None:
            open_.append("{" if mark == "{" else r"\left" if command == "left" else f"begin {environment}")
        elif command in ("begin", "end") or (escaped is None and piece[0] == "\\"):
            return False
    return bool(pieces) and not open_ and not script


def _toggle(open_: list[str]) -> bool:
    """An inner $, which may stand in a group (of \\text) only."""
    if open_ and open_[-1] == "$":
        open_.pop()
    elif open_ and "{" in open_:
        open_.append("$")
    else:
        return False
    return True
