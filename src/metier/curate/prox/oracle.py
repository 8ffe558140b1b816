"""Noise of the web put into clean text, with the program that takes it out again: seed examples whose answers are known.

Templates are split: "train" and "held_out" share no template and no word that fills one, so that what a refiner does on held-out
noise it does on noise it has not seen.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metier.curate.prox.interpreter import MOST_CHANGED
from metier.curate.prox.program import Call, Normalize, RemoveLines

Part = Literal["train", "held_out"]

_MENU_SHARE, _FOOTER_SHARE, _BETWEEN_SHARE, _STUCK_SHARE, _CLEAN_SHARE = 0.6, 0.6, 0.4, 0.3, 0.15

_WORDS: dict[Part, dict[str, Sequence[str]]] = {
    "train": {
        "section": ("Home", "News", "Sports", "Products", "About Us", "Contact", "Blog", "Forum", "Gallery", "Downloads", "Jobs"),
        "site": ("GardenPlanet", "TechDaily", "RiverTown Gazette", "CodeBarn", "Old Mill Books", "MyRecipes24", "Fishing World"),
        "network": ("Facebook", "Twitter", "Pinterest", "LinkedIn", "Tumblr"),
        "name": ("Anna Miller", "J. Thompson", "admin", "Peter K.", "Maria Lopez", "editor2"),
        "month": ("January", "March", "May", "July", "September", "November"),
        "topic": ("gardening", "travel tips", "reviews", "software", "cheap flights", "recipes", "insurance", "diet"),
        "domain": ("www.gardenplanet.com", "techdaily.net", "codebarn.org", "shop.oldmill.com"),
    },
    "held_out": {
        "section": ("Start", "Weather", "Culture", "Services", "Our Team", "Imprint", "Magazine", "Members", "Videos", "Careers"),
        "site": ("Alpine Herald", "PixelForge", "BikeHub", "The Harbor Post", "QuickLoans365", "StarGazer Online"),
        "network": ("Reddit", "WhatsApp", "Instagram", "Telegram"),
        "name": ("Robert Stone", "webmaster", "L. Chen", "Sofia R.", "guest17"),
        "month": ("February", "April", "June", "August", "October", "December"),
        "topic": ("cycling", "home loans", "astronomy", "fashion", "used cars", "online casino", "fitness"),
        "domain": ("alpineherald.com", "www.pixelforge.io", "bikehub.net", "m.harborpost.com"),
    },
}
_NUMBERS = {"number": (10, 99_999), "day": (1, 28), "year": (2003, 2023)}
_TEMPLATES: dict[Part, dict[str, Sequence[str]]] = {
    "train": {
        "menu": (
            "{section} | {section} | {section}",
            "{section} > {section} > {topic}",
            "{section}",
            "Skip to content",
            "Toggle navigation",
            "Log in | Register",
            "Search {site}",
            "Menu",
            "* {section} * {section} * {section} * {section}",
            "{site} - {section}",
        ),
        "between": (
            "Share on {network}",
            "Tweet this",
            "http://{domain}/{topic}?id={number}",
            "Click here to continue",
            "Advertisement",
            "[ Print this page ]",
            "Posted by {name} on {month} {day}, {year}",
            "{number} views",
            "Image: {site}/{number}.jpg",
            "Like {day} | Reply | Report",
        ),
        "footer": (
            "Copyright {year} {site}. All rights reserved.",
            "Privacy Policy | Terms of Use | Contact",
            "Related posts:",
            "Leave a comment",
            "{day} comments so far",
            "Tags: {topic}, {topic}",
            "Subscribe to our newsletter",
            "Powered by WordPress",
            "Previous post: {topic}",
            "Follow us on {network} and {network}",
            "Last updated: {month} {year}",
        ),
        "stuck": (" [Read more]", " (click to enlarge)", "[edit] ", " &raquo;&nbsp;", " >> Share <<", "Advertisement: "),
    },
    "held_out": {
        "menu": (
            "{section} / {section} / {section}",
            "You are here: {section} » {section}",
            "Jump to navigation",
            "Sign up for free",
            "My account ({day})",
            "- {section} - {section} - {topic}",
            "Welcome to {site}",
            "Enter your search term",
        ),
        "between": (
            "Send to a friend via {network}",
            "https://{domain}/archive/{year}/{number}",
            "Sponsored content",
            "Download as PDF",
            "By {name}, {day} {month} {year}",
            "Rated {day} out of 5 by {number} users",
            "View full size",
            "+1 Save Pin it",
        ),
        "footer": (
            "(c) {year} {site}",
            "Legal notice - Cookies - Sitemap",
            "You may also like",
            "Add your opinion",
            "Filed under {topic} and {topic}",
            "Get {site} in your inbox every week",
            "Back to top",
            "Next article: {topic}",
            "Page generated in 0.{number} seconds",
        ),
        "stuck": (" [Continue reading]", " (view image)", "[hide] ", " &laquo;&#160;", " ## Pin it ##", "Sponsored: "),
    },
}


@dataclass(frozen=True)
class Noisy:
    """lines: clean ones with noise; calls: what takes the noise out, to the letter; noise: numbers of the lines that are nothing but
    noise, counted from `start`, the number of the first line."""

    lines: list[str]
    calls: list[Call]
    start: int


def with_noise(clean: Sequence[str], part: Part, generator: random.Random, start: int = 0) -> Noisy:
    """The lines with menus before, a footer after, buttons between, and strings stuck to lines, each with some chance; or as they are.

    `start` is the number of the first line in its document. Executing `calls` gives `clean` back.
    """
    if generator.random() < _CLEAN_SHARE:
        return Noisy(list(clean), [], start)
    stuck = _stuck(clean, part, generator) if generator.random() < _STUCK_SHARE else None
    blocks: dict[int, list[str]] = {}
    if start == 0 and generator.random() < _MENU_SHARE:
        blocks[0] = _filled(part, "menu", generator.randint(1, 5), generator)
    if generator.random() < _FOOTER_SHARE:
        blocks[len(clean)] = _filled(part, "footer", generator.randint(1, 4), generator)
    if len(clean) > 1 and generator.random() < _BETWEEN_SHARE:
        blocks[generator.randrange(1, len(clean))] = _filled(part, "between", generator.randint(1, 2), generator)
    lines: list[str] = []
    calls: list[Call] = []
    for place in range(len(clean) + 1):
        if place in blocks:
            first = start + len(lines)
            calls.append(RemoveLines(first, first + len(blocks[place]) - 1))
            lines += blocks[place]
        if place < len(clean):
            lines.append(stuck[0].get(place, clean[place]) if stuck is not None else clean[place])
    return Noisy(lines, [*calls, Normalize(stuck[1])] if stuck is not None else calls, start)


def noise_alone(part: Part, generator: random.Random) -> list[str]:
    """The lines of a page that holds nothing else: what a document refiner has to drop."""
    kinds = [*["menu"] * generator.randint(2, 5), *["between"] * generator.randint(0, 4), *["footer"] * generator.randint(2, 6)]
    return [line for kind in kinds for line in _filled(part, kind, 1, generator)]


def _stuck(clean: Sequence[str], part: Part, generator: random.Random) -> tuple[dict[int, str], str] | None:
    """One or two lines with a string stuck to their beginning or end, and the string; None where it stands in the text anyway,
    or is too much for so little text."""
    string = generator.choice(_TEMPLATES[part]["stuck"])
    places = [place for place, line in enumerate(clean) if line.strip()]
    if not places or any(string in line for line in clean):
        return None
    chosen = generator.sample(places, min(len(places), generator.randint(1, 2)))
    if len(chosen) * len(string) > MOST_CHANGED * sum(map(len, clean)):  # the interpreter would refuse it
        return None
    changed = {place: clean[place] + string if string.startswith(" ") else string + clean[place] for place in chosen}
    # A line that ends like the string begins would lose another part of itself.
    whole = all(line.replace(string, "") == clean[place] for place, line in changed.items())
    return (changed, string) if whole else None


def _filled(part: Part, kind: str, count: int, generator: random.Random) -> list[str]:
    def fill(slot: re.Match[str]) -> str:
        if slot[1] in _NUMBERS:
            return str(generator.randint(*_NUMBERS[slot[1]]))
        return generator.choice(_WORDS[part][slot[1]])

    return [re.sub(r"\{(\w+)\}", fill, template) for template in generator.sample(_TEMPLATES[part][kind], count)]
