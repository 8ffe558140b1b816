"""Text, formulas and images of a page come out in their order, and a threshold keeps the recall that it promises.

Contradicted if the parts of a generated page (paragraphs, formulas in five notations, images in four) are not, one by one, those that
were put in; or if thresholds promised to keep 95% of good pages with 95% confidence do so in so few resamples that 0.95 lies above the
exact 99% interval of how often. What the second classifier is worth is not shown here: it needs a judge and pages of the web.
"""

from __future__ import annotations

import random

import numpy as np
from scipy import stats

from metier.core.evidence import Check, Evidence, exact
from metier.curate.webmath_interleaved.interleave import interleaved
from metier.curate.webmath_interleaved.threshold import threshold_for_recall
from metier.engines.stats.exact import binomial_interval

WORDS = "let every point of the plane be near some line that we draw through two given ones as before and then see what follows".split()


def prove(quick: bool) -> Evidence:
    """Generated pages; scores of good pages drawn from a Beta distribution, whose true recall is known."""
    pages = 40 if quick else 500
    wrong, baselines = _pages(pages)
    kept, runs = _promises(200 if quick else 4000)
    return exact(
        claim="parts of pages in their order, and thresholds that keep their promise",
        metric="largest difference",
        checks=[
            Check(f"pages ({pages}) with other parts than were put in", wrong, 0.5),
            Check(
                "0.95 above the 99% interval of promises kept",
                max(0.0, 0.95 - binomial_interval(kept, runs, level=0.99).high),
                1e-9,
            ),
        ],
        notes=f"{baselines} Thresholds from 150 scores kept their promise in {kept} of {runs} resamples.",
    )


def _pages(count: int) -> tuple[int, str]:
    import trafilatura
    from resiliparse.extract.html2text import extract_plain_text

    wrong = formulas = by_trafilatura = by_resiliparse = 0
    for seed in range(count):
        generator = random.Random(seed)
        expected, tex, html = _page(generator)
        found = interleaved(html, "https://site.org/a/page.html")
        parts = []
        for text, image in zip(found.texts, found.images, strict=True):
            parts += [image] if text is None else [" ".join(line.split()) for line in text.split("\n") if line.strip()]
        wrong += parts != expected
        formulas += len(tex)
        plain = extract_plain_text(html, alt_texts=True)
        other = trafilatura.extract(html, include_images=True, include_tables=True) or ""
        by_resiliparse += sum(one in plain for one in tex)
        by_trafilatura += sum(one in other for one in tex)
    return wrong, (
        f"Of {formulas} formulas, each with a number of its own, the text of trafilatura holds {100 * by_trafilatura / formulas:.0f}% as TeX, "
        f"of resiliparse (alternative texts included) {100 * by_resiliparse / formulas:.0f}%."
    )


def _page(generator: random.Random) -> tuple[list[str], list[str], str]:
    """The parts in order, the formulas, and the page."""
    expected, formulas, parts = [], [], []
    for number in range(generator.randint(4, 12)):
        text = " ".join(generator.choices(WORDS, k=generator.randint(8, 30))).capitalize()
        kind = generator.choice(["text", "formula", "image"])
        if kind == "image":
            address, tag = _image(generator, number)
            expected.append(address)
            parts.append(f"<div>{tag}</div>")
            continue
        if kind == "formula":
            tex, tag, display = _formula(generator, number)
            formulas.append(tex)
            expected += [f"{text}", f"$${tex}$$", "and more."] if display else [f"{text} ${tex}$ and more."]
            parts.append(f"<p>{text} {tag} and more.</p>")
        else:
            expected.append(f"{text}.")
            parts.append(f"<p>{text}.</p>")
    return expected, formulas, f"<html><body><nav>Menu <img src='/m.png'></nav><article>{''.join(parts)}</article></body></html>"


def _formula(generator: random.Random, number: int) -> tuple[str, str, bool]:
    constant = 100 * number + generator.randrange(100)
    tex = rf"\frac{{a}}{{{constant}}}"
    tree = f"<mfrac><mi>a</mi><mn>{constant}</mn></mfrac>"
    return generator.choice(
        [
            (tex, f"<math>{tree}</math>", False),
            (
                tex,
                f'<math><semantics>{tree}<annotation encoding="application/x-tex">{tex}</annotation></semantics></math>',
                False,
            ),
            (tex, f'<script type="math/tex">{tex}</script>', False),
            (tex, f'<script type="math/tex; mode=display">{tex}</script>', True),
            (tex, f'<img class="equation" src="f{number}.gif" alt="{tex}">', False),
        ]
    )


def _image(generator: random.Random, number: int) -> tuple[str, str]:
    name = f"p{number}-{generator.randrange(1000)}.png"
    tag = generator.choice(
        [
            f'<img src="{name}">',
            f'<img src="data:image/gif;base64,R0lGODlh" data-src="{name}">',
            f'<img srcset="s{name} 100w, {name} 800w" src="s{name}">',
            f'<img src="https://site.org/a/{name}" alt="A drawing">',
        ]
    )
    return f"https://site.org/a/{name}", tag


def _promises(runs: int) -> tuple[int, int]:
    """Scores of good pages are Beta(2, 1): of all, 1 - t * t have t or more."""
    kept = 0
    for seed in range(runs):
        scores = stats.beta.ppf(np.random.default_rng(seed).random(150), 2, 1).tolist()
        kept += 1 - threshold_for_recall(scores, 0.95) ** 2 >= 0.95
    return kept, runs
