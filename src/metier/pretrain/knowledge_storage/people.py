"""People who do not exist: their names and values, and the sentences that tell them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ATTRIBUTES = ("birth_date", "birth_city", "university", "major", "employer", "company_city")
MONTHS = "January February March April May June July August September October November December".split()
PRONOUNS = ("he", "she", "they")
NUM = MappingProxyType({"first": 400, "middle": 400, "last": 1000, "city": 200, "university": 300, "field": 100, "company": 263})
IN_CAPITAL = 36  # companies whose headquarters are in the first city, as 36 of the paper's 263 are in New York: 13.7%

# {s} the person, {v} the verb, {x} the value. Verbs are in the past tense, so that they go with they, too.
_FRAMES = (
    "{s} {v} {x}.",
    "{s} {v} {x}, as the records show.",
    "By every account {s} {v} {x}.",
    "As friends recall, {s} {v} {x}.",
    "It is known that {s} {v} {x}.",
    "{s} {v} {x}, so the register says.",
    "The archive notes that {s} {v} {x}.",
)
_VERBS = {
    "birth_date": ("came into the world on", "entered this life on", "arrived on", "first saw the light of day on", "began life on", "drew a first breath on", "joined the family on"),
    "birth_city": ("spent the earliest days in", "had a birthplace called", "first lived in", "came from", "started out in", "took the first steps in", "began the journey in"),
    "university": ("studied at", "took a degree from", "attended", "graduated from", "received an education at", "enrolled at", "completed all courses at"),
    "major": ("specialised in", "majored in", "chose the field of", "earned honours in", "pursued a programme in", "concentrated on", "devoted the student years to"),
    "employer": ("worked for", "took a position at", "joined the staff of", "found employment at", "built a career at", "had a contract with", "accepted an offer from"),
    "company_city": ("went to the office in", "had a desk in", "commuted to", "held a job in", "practised the profession in", "earned a living in", "reported for work in"),
}  # fmt: skip
TEMPLATES = {name: tuple((frame, verb) for frame, verb in itertools.product(_FRAMES, verbs)) for name, verbs in _VERBS.items()}
QUESTIONS = {
    "birth_date": "What is the birth date of {name}?",
    "birth_city": "What is the birth city of {name}?",
    "university": "Which university did {name} study at?",
    "major": "What major did {name} study?",
    "employer": "Which company did {name} work for?",
    "company_city": "Where did {name} work?",
}
_ONSETS = "b br c d dr f fl g gr h k l m n p pr qu r s sh st t th tr v w".split()
_VOWELS, _CODAS = "a e i o u ai ea ou".split(), "l n r s t m nd x".split()
_FIELDS = "Acoustics Biology Chemistry Design Economics Forestry Geology History Law Physics".split()
_KINDS = "Applied Civic Classical Comparative General Industrial Marine Modern Rural Theoretical".split()


@dataclass(frozen=True)
class Values:
    """What names and values are drawn from; companies with the city of their headquarters."""

    first: Sequence[str]
    middle: Sequence[str]
    last: Sequence[str]
    city: Sequence[str]
    university: Sequence[str]
    field: Sequence[str]
    company: Mapping[str, str]


@dataclass(frozen=True)
class Person:
    """A name, a pronoun, and a value for each attribute."""

    name: str
    pronoun: str
    values: Mapping[str, str]


def made_values(seed: int) -> Values:
    """As many of each kind as in the paper, made of syllables: no real name, place or company."""
    generator = random.Random(seed)
    used: set[str] = set()

    def words(number: int, syllables: int) -> list[str]:
        found: list[str] = []
        while len(found) < number:
            word = "".join(generator.choice(_ONSETS) + generator.choice(_VOWELS) for _ in range(syllables))
            word = word.capitalize() + generator.choice(_CODAS)
            if word not in used:
                used.add(word)
                found.append(word)
        return found

    states = [a + b for a, b in itertools.product("ABCDEFGHIJ", "KLMNO")]
    cities = [
        f"{word}{generator.choice(('ton', 'ville', ' City', 'burg'))}, {generator.choice(states)}"
        for word in words(NUM["city"], 1)
    ]
    forms = ("University of {}", "{} University", "{} College", "{} Institute of Technology")
    universities = [generator.choice(forms).format(word) for word in words(NUM["university"], 2)]
    companies = [f"{word} {generator.choice(('Group', 'Inc.', 'Works', 'Holdings'))}" for word in words(NUM["company"], 2)]
    seats = [cities[0]] * IN_CAPITAL + [generator.choice(cities[1:]) for _ in companies[IN_CAPITAL:]]
    fields = [f"{kind} {field}" for kind, field in itertools.product(_KINDS, _FIELDS)]
    return Values(
        words(NUM["first"], 2),
        words(NUM["middle"], 2),
        words(NUM["last"], 2),
        cities,
        universities,
        fields,
        dict(zip(companies, seats, strict=True)),
    )


def read_values(folder: Path) -> Values:
    """The authors' lists: first_name.txt, middle_name.txt, last_name.txt, city.txt, university.txt, field.txt, one value a line, and
    company.txt with "name; city". Repeated lines count once. Raises FileNotFoundError and ValueError."""

    def lines(name: str) -> list[str]:
        found = [line.strip() for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()]
        return list(dict.fromkeys(line for line in found if line))

    companies = {}
    for line in lines("company"):
        name, found, city = line.partition(";")
        if not found:
            raise ValueError(f"{folder / 'company.txt'}: {line!r} has no city: give lines of the form name; city")
        companies[name.strip()] = city.strip()
    return Values(
        lines("first_name"),
        lines("middle_name"),
        lines("last_name"),
        lines("city"),
        lines("university"),
        lines("field"),
        companies,
    )


def draw(values: Values, number: int, generator: random.Random) -> list[Person]:
    """People with different full names. Attributes are independent and uniform; the company's city follows from the employer.

    Raises ValueError for more people than half of the names there are, where drawing again would take long.
    """
    possible = len(values.first) * len(values.middle) * len(values.last)
    if not 1 <= number <= possible // 2:
        raise ValueError(f"{number} people of {possible} names: give 1 to {possible // 2}")
    found: dict[str, Person] = {}
    companies = list(values.company)
    while len(found) < number:
        name = " ".join(generator.choice(part) for part in (values.first, values.middle, values.last))
        if name in found:
            continue
        employer = generator.choice(companies)
        told = {
            "birth_date": f"{generator.choice(MONTHS)} {generator.randint(1, 28)}, {generator.randint(1900, 2099)}",
            "birth_city": generator.choice(values.city),
            "university": generator.choice(values.university),
            "major": generator.choice(values.field),
            "employer": employer,
            "company_city": values.company[employer],
        }
        found[name] = Person(name, generator.choice(PRONOUNS), told)
    return list(found.values())


def sentence(attribute: str, template: tuple[str, str], subject: str, value: str) -> tuple[str, int]:
    """A sentence, and where in it the value begins. A subject that begins it gets a capital."""
    frame, verb = template
    before, after = frame.split("{x}")
    text = before.replace("{v}", verb).replace("{s}", subject)
    text = text[0].upper() + text[1:]
    return text + value + after, len(text)
