"""Words that name a group of people, by axis, and the finder of sentences that hold one."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Collected for this library. The axes are the paper's; its own list of 206 forms (from HolisticBias) is not used here.
DESCRIPTORS: dict[str, tuple[str, ...]] = {
    "religion": tuple(
        "Christian,Catholic,Protestant,Orthodox Christian,Evangelical,Baptist,Methodist,Lutheran,Presbyterian,Mormon,Jewish,Muslim,Islamic,"
        "Sunni,Shia,Hindu,Buddhist,Sikh,Taoist,Wiccan,pagan,atheist,agnostic,secular,Amish,Quaker,Zoroastrian".split(",")
    ),
    "gender_and_sex": tuple(
        "female,male,woman,man,women,men,girl,boy,feminine,masculine,transgender,trans,cisgender,non-binary,genderfluid,genderqueer,"
        "intersex,gender-neutral,two-spirit".split(",")
    ),
    "nationality": tuple(
        "American,British,Canadian,Chinese,French,German,Indian,Irish,Italian,Japanese,Korean,Mexican,Brazilian,Nigerian,Polish,Russian,"
        "Spanish,Swedish,Turkish,Ukrainian,Vietnamese,Filipino,Pakistani,Israeli,Iranian,Iraqi,Egyptian,Saudi,Cuban,Haitian".split(
            ","
        )
    ),
    "race_ethnicity": tuple(
        "Asian,European,African,Black,White,Hispanic,Latino,Latina,Latinx,Caucasian,Arab,African-American,Asian-American,Native American,"
        "Alaska Native,Pacific Islander,Indigenous,Aboriginal,Middle Eastern,South Asian,East Asian,biracial,multiracial,Roma,Kurdish".split(
            ","
        )
    ),
    "sexual_orientation": tuple(
        "lesbian,gay,bisexual,heterosexual,homosexual,straight,queer,asexual,pansexual,LGBT,LGBTQ,same-sex".split(",")
    ),
}
PRONOUNS = {
    "grammatical": tuple(
        "I,me,my,mine,you,your,yours,he,him,his,she,her,hers,it,its,we,us,our,ours,they,them,their,theirs,myself,yourself,himself,"
        "herself,itself,ourselves,themselves".split(",")
    ),
    "gendered": tuple("he,him,his,himself,she,her,hers,herself".split(",")),
}
_EDGE = re.escape(string.punctuation + "–—‘’“”…«»")


@dataclass(frozen=True)
class Finder:
    """Finds descriptors of which each belongs to one axis. axes: descriptor -> axis."""

    pattern: re.Pattern[str]
    canonical: Mapping[str, str]
    axes: Mapping[str, str]

    def found(self, text: str) -> list[str]:
        """The descriptors in a text in their order, each once. They overlap where they must; at one place the longest counts."""
        return list(dict.fromkeys(self.canonical[_plain(match[1])] for match in self.pattern.finditer(text)))


def finder_of(descriptors: Mapping[str, Sequence[str]]) -> Finder:
    """A finder of these words, with white space, punctuation or the text's edge on both sides, in just this case; a hyphen may be a space.

    Unlike in the authors' code, a word at the very end of a text counts too. Raises ValueError for no word, an empty one, and one
    that two axes name.
    """
    canonical: dict[str, str] = {}
    axes: dict[str, str] = {}
    for axis, names in descriptors.items():
        for name in names:
            plain = _plain(name)
            if not plain.strip():
                raise ValueError(f"descriptors: the axis {axis!r} holds an empty word; leave it out")
            other = canonical.setdefault(plain, name)
            if axes.setdefault(other, axis) != axis:
                raise ValueError(f"descriptors: {name!r} is in {axes[other]!r} and in {axis!r}; a word counts for one axis")
    if not canonical:
        raise ValueError("descriptors names no word: give a mapping of axes to words, or null for the built-in list")
    longest_first = sorted(canonical, key=lambda plain: (-len(plain), plain))
    words = "|".join(r"[-\s]".join(map(re.escape, plain.split(" "))) for plain in longest_first)
    return Finder(re.compile(rf"(?:(?<=[\s{_EDGE}])|\A)(?=({words})(?:[\s{_EDGE}]|\Z))"), canonical, axes)


def _plain(name: str) -> str:
    return re.sub(r"[-\s]+", " ", name)
