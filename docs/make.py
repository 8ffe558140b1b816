"""Writes docs/methods/NAME.md for every method, and the README's table of evidence, from signatures, docstrings and stored proofs.

    python docs/make.py [--check]

Nothing on these pages is written by hand, so that they can't say what the code does not. `--check` writes nothing and ends with 1 where
something is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from metier.core import catalog, evidence

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- evidence: made by docs/make.py -->", "<!-- end of evidence -->"


def main() -> None:
    pages = {ROOT / "docs" / "methods" / f"{one.name}.md": page(one) for one in catalog.methods()}
    pages[ROOT / "docs" / "methods" / "README.md"] = index()
    pages[ROOT / "README.md"] = readme((ROOT / "README.md").read_text(encoding="utf-8"))
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    gone = sorted(set((ROOT / "docs" / "methods").glob("*.md")) - pages.keys())
    if "--check" in sys.argv[1:]:
        for path in [*stale, *gone]:
            print(f"{path.relative_to(ROOT)} is out of date: run `make docs`")
        sys.exit(1 if stale or gone else 0)
    (ROOT / "docs" / "methods").mkdir(exist_ok=True)
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
    for path in gone:
        path.unlink()


def page(method: catalog.Description) -> str:
    doc = method.doc.partition("Settings:\n")[0].strip()
    flows = ", ".join(f"`{name}`: {kind}" for name, kind in method.flows.items()) or "nothing"
    lines = [f"# {method.name}", "", f"*{method.kind}* · claims: {method.claim}", ""]
    if method.paper is not None:
        lines += [f"Paper: {method.paper}", ""]
    lines += [doc, "", f"Takes {flows}; gives {method.returns}.", ""]
    if method.settings:
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| {one.name} | {cell(one.type)} | {cell(one.default or 'required')} | {cell(one.help)} |" for one in method.settings
        ]
        lines += [""]
    return "\n".join([*lines, *_evidence(method.name)])


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _evidence(name: str) -> list[str]:
    found = evidence.stored(name)
    if found is None:
        return ["No proof is stored."]
    lines = [
        "## Evidence",
        "",
        f"**{found.verdict}**: {found.claim}. {effect(found)}, made {found.made} in {found.seconds:.0f} s.",
        "",
    ]
    if found.checks:
        lines += ["| check | difference | allowed |", "|---|---|---|"]
        lines += [f"| {cell(one.name)} | {one.difference:.3g} | {one.tolerance:.3g} |" for one in found.checks]
    elif found.seeds:
        lines += ["| seed | method | baseline |", "|---|---|---|"]
        rows = zip(found.seeds, found.method, found.baseline, strict=True)
        lines += [f"| {seed} | {ours:.4g} | {theirs:.4g} |" for seed, ours, theirs in rows]
    if found.notes:
        lines += ["", found.notes]
    return [*lines, "", f"Run it again: `metier prove {name}`.", ""]


def effect(found: evidence.Evidence) -> str:
    if found.interval is None:
        return f"{found.metric}: {found.effect:.2g} at most"
    low, high = found.interval
    return f"{found.metric}: {found.effect:+.3g} [{low:+.3g}, {high:+.3g}] ({found.better} is better)"


def index() -> str:
    lines = ["# Methods", "", "| method | kind | claim | evidence |", "|---|---|---|---|"]
    for one in catalog.methods():
        found = evidence.stored(one.name)
        lines.append(
            f"| [{one.name}]({one.name}.md) | {one.kind} | {cell(one.claim)} | {found.verdict if found is not None else ''} |"
        )
    return "\n".join([*lines, ""])


def readme(text: str) -> str:
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise SystemExit(f"README.md lacks the lines {BEGIN!r} and {END!r} around its table")
    rows = ["| method | claim | verdict | effect |", "|---|---|---|---|"]
    for one in catalog.methods():
        found = evidence.stored(one.name)
        if found is not None:
            rows.append(
                f"| [{one.name}](docs/methods/{one.name}.md) | {cell(found.claim)} | {found.verdict} | {cell(effect(found))} |"
            )
    return f"{before}{BEGIN}\n" + "\n".join(rows) + f"\n{END}{after}"


if __name__ == "__main__":
    main()
