"""Arabic answers are read without error, and voting is worth what the formulas say.

Contradicted if, of 30 questions in three orders of letters times 12 ways to answer, one is read wrongly; if one of 50 refusals
and evasions is read as an option; if the vote of three independent members of accuracy 0.7 on two options differs from 0.784 by
more than 1e-12 in enumeration or 0.005 in 200,000 simulated questions, or under shared errors from the mixture's line down to
0.7; if the weighted vote ever leaves the best member where its log-odds exceed the others' sum, or differs from Bayes' rule; if
ROUGE-L of equal Arabic texts is not 1; if the table of a run does not add up. How near a model comes, how little BERTScore
separates, are told in the notes: SmolLM2-135M knows no Arabic, so its run is a test of the plumbing, and more than 40% on it
would mean a leak.
"""

from __future__ import annotations

import csv
import itertools
import math
import random
import re
import tempfile
from pathlib import Path

from metier.core.evidence import Check, Evidence, exact
from metier.engines.generate.open import open_language_model
from metier.evaluate.arabic_medical import arabic_medical
from metier.evaluate.arabic_medical.letters import meant
from metier.evaluate.arabic_medical.open_answers import bert_score, chrf, rouge_l, separation
from metier.evaluate.arabic_medical.questions import split_options
from metier.evaluate.arabic_medical.summary import groups
from metier.evaluate.arabic_medical.vote import Member, vote

# Stem, right option, wrong options: everyday facts, written for this proof.
FACTS = [
    ("كم يومًا في الأسبوع؟", "سبعة", "خمسة|ستة|ثمانية"),
    ("ما عاصمة فرنسا؟", "باريس", "روما|مدريد|برلين"),
    ("ما عاصمة مصر؟", "القاهرة", "الإسكندرية|أسوان|طنطا"),
    ("كم شهرًا في السنة؟", "١٢", "١٠|١١|١٣"),
    ("ما ناتج ٣ + ٤؟", "7", "17|6|8"),
    ("أي كوكب هو الأقرب إلى الشمس؟", "عطارد", "الزهرة|المريخ|زحل"),
    ("ما لون السماء الصافية نهارًا؟", "أزرق", "أخضر|أحمر|أصفر"),
    ("أي مما يأتي فاكهة؟", "التفاح", "الجزر|البصل|الخس"),
    ("كم ضلعًا للمثلث؟", "ثلاثة أضلاع", "أربعة أضلاع|خمسة أضلاع|ضلعان"),
    ("ما عاصمة اليابان؟", "طوكيو", "سيول|بكين|هانوي"),
    ("كم دقيقة في الساعة؟", "ستون دقيقة", "ثلاثون دقيقة|أربعون دقيقة|مئة دقيقة"),
    ("في أي قارة تقع البرازيل؟", "أمريكا الجنوبية", "أمريكا|آسيا|أوروبا"),
    ("ما اليوم الذي يلي يوم الاثنين؟", "الثلاثاء", "الأحد|الجمعة|الخميس"),
    ("ما ناتج ٥ × ٢؟", "10", "7|12|25"),
    ("أي مما يأتي ليس حيوانًا؟", "الكرسي", "القط|الكلب|الأسد"),
    ("ما عاصمة إيطاليا؟", "روما", "ميلانو|نابولي|تورينو"),
    ("كم ساعة في اليوم؟", "٢٤", "١٢|٢٠|٣٦"),
    ("ما الفصل الذي يأتي بعد الشتاء؟", "الربيع", "الصيف|الخريف|الشتاء نفسه"),
    ("أي مما يأتي وسيلة نقل؟", "القطار", "الكتاب|الطاولة|النافذة"),
    ("ما عكس كلمة كبير؟", "صغير", "طويل|ثقيل|واسع"),
    ("ما عاصمة المغرب؟", "الرباط", "فاس|مراكش|طنجة"),
    ("كم حرفًا في الأبجدية العربية؟", "28 حرفًا", "26 حرفًا|30 حرفًا|22 حرفًا"),
    ("في أي اتجاه تشرق الشمس؟", "الشرق", "الغرب|الشمال|الجنوب"),
    ("ما عاصمة ألمانيا؟", "برلين", "بون|ميونخ|هامبورغ"),
    ("ما أكبر محيط؟", "المحيط الهادئ", "المحيط الهندي|المحيط الأطلسي|المحيط المتجمد"),
    ("ما ناتج ٩ − ٤؟", "5", "3|4|6"),
    ("ما عاصمة تركيا؟", "أنقرة", "إسطنبول|إزمير|بورصة"),
    ("أي مما يأتي سائل؟", "الماء", "الحجر|الخشب|الحديد"),
    ("كم سنتيمترًا في المتر؟", "مئة", "عشرة|ألف|خمسون"),
    ("ما عاصمة روسيا؟", "موسكو", "كييف|مينسك|وارسو"),
]  # fmt: skip
ORDERS = ("أبجده", "أبتثج", "ABCDE")
STYLES = [
    "{letter}",
    "{letter}.",
    "({letter})",
    "**{letter}**",
    "{letter}. {text}",
    "{letter}) {text}",
    "الإجابة: {letter}",
    "الإجابة الصحيحة هي {letter}. {text}",
    "الجَواب هو الخيار ({letter}) لأنّه الأصحّ.",
    "The correct answer is {latin}.",
    "{text}",
    "أفكر أولًا: قد تكون الإجابة {other}، لكن عند المراجعة يتبين غير ذلك.\nالإجابة النهائية: {letter}",
]
APOLOGIES = ["عذرًا", "آسف", "للأسف", "معذرة", "أعتذر", "شكرًا على سؤالك", "سؤال مهم", "أنا نموذج لغوي", "Sorry", "I apologise"]
EVASIONS = [
    "لا أستطيع الإجابة عن هذا السؤال.",
    "يجب أن تسأل د. أحمد فهو المختص.",
    "لا يمكنني اختيار الإجابة أ أو ب من دون معلومات كافية.",
    "I cannot answer a medical question.",
    "please ask a doctor; a choice between A and B is not mine to make.",
]


def prove(quick: bool) -> Evidence:
    """The checks above; the run on SmolLM2 and BERTScore by it only in full."""
    checks = [*reading(), *voting(2_000 if quick else 200_000, 0.05 if quick else 0.005), *tokenising()]
    added, notes = running("tiny" if quick else "smollm2")
    return exact(
        claim="360 Arabic answers and 1500 evasions are read without error, and a vote is worth what the formulas say",
        metric="largest difference; counts of errors where a check names them",
        checks=[*checks, *added],
        notes=notes if quick else f"{notes} {band()}",
    )


def questions() -> list[tuple[str, int, str]]:
    """(text with options, right place, its letters) of every fact, ten in each order, the right place drawn."""
    generator, found = random.Random(0), []
    for number, (stem, right, wrong) in enumerate(FACTS):
        options = wrong.split("|")
        place = generator.randrange(len(options) + 1)
        options.insert(place, right)
        letters = ORDERS[number % len(ORDERS)]
        lines = [f"{letter}. {option}" for letter, option in zip(letters, options, strict=False)]
        found.append(("\n".join([stem, *lines]), place, letters))
    return found


def reading() -> list[Check]:
    """Wrongly read answers, and refusals taken for an option."""
    wrong = false = 0
    for text, place, letters in questions():
        _, options, order = split_options(text)
        told = {"letter": letters[place], "text": options[place], "latin": "ABCDE"[place], "other": letters[place - 1]}
        wrong += sum(meant(style.format(**told), options, order) != place for style in STYLES)
        false += sum(meant(refusal, options, order) is not None for refusal in refusals())
    return [
        Check("answers read wrongly, of 360", wrong, 0.5),
        Check("options read into refusals, 50 by 30 questions", false, 0.5),
    ]


def refusals() -> list[str]:
    return [f"{apology}، {evasion}" for apology in APOLOGIES for evasion in EVASIONS]


def voting(simulated: int, tolerance: float) -> list[Check]:
    """Three members of accuracy 0.7 on two options: enumerated, simulated, with shared errors; the weighted vote against Bayes'
    rule."""

    def majority(right: tuple[bool, ...]) -> bool:
        return vote([0 if one else 1 for one in right], 2, rule="majority", tie="abstain").chosen == 0

    won = {right: majority(right) for right in itertools.product([True, False], repeat=3)}
    enumerated = sum(math.prod(0.7 if one else 0.3 for one in right) for right, is_won in won.items() if is_won)
    checks = [Check("three of 0.7, enumerated, against 0.784", abs(enumerated - (0.7**3 + 3 * 0.7**2 * 0.3)), 1e-12)]
    for shared in (0.0, 0.25, 0.5, 0.75, 1.0):
        generator, right = random.Random(f"shared {shared}"), 0
        for _ in range(simulated):
            if generator.random() < shared:
                right += won[(generator.random() < 0.7,) * 3]
            else:
                right += won[generator.random() < 0.7, generator.random() < 0.7, generator.random() < 0.7]
        expected = shared * 0.7 + (1 - shared) * 0.784
        checks.append(
            Check(f"{shared:.0%} of draws shared: {right / simulated:.4f}", abs(right / simulated - expected), tolerance)
        )
    return [*checks, *weighing()]


def weighing() -> list[Check]:
    """Random members and votes: the strongest alone decides where it outweighs the others, and confidences are Bayes'
    posterior."""
    generator, left, worst = random.Random(1), 0, 0.0
    for _ in range(2_000):
        options = generator.randint(2, 5)
        members = [Member(generator.randint(0, 100), 100) for _ in range(generator.randint(2, 5))]
        votes = [generator.randrange(options) for _ in members]
        decision = vote(votes, options, rule="weighted", tie="first", members=members)
        weights = [member.weight(options) for member in members]
        best = max(range(len(members)), key=weights.__getitem__)
        if weights[best] > sum(abs(weight) for weight in weights) - abs(weights[best]):
            left += decision.chosen != votes[best]
        likelihoods = [
            math.prod(
                member.accuracy if cast == place else (1 - member.accuracy) / (options - 1)
                for cast, member in zip(votes, members, strict=True)
            )
            for place in range(options)
        ]
        posterior = [likelihood / sum(likelihoods) for likelihood in likelihoods]
        worst = max(worst, *(abs(a - b) for a, b in zip(posterior, decision.confidences, strict=True)))
    return [Check("votes that left an outweighing member", left, 0.5), Check("confidence against Bayes' rule", worst, 1e-9)]


def tokenising() -> list[Check]:
    """ROUGE-L of equal texts is 1, where the English rule (lower case, a-z and 0-9 kept) leaves no token of them."""
    texts = [stem for stem, _, _ in FACTS]
    english = sum(len(re.sub("[^a-z0-9]+", " ", text.lower()).split()) for text in texts)
    return [
        Check("ROUGE-L of equal Arabic texts below 1", max(abs(1 - rouge_l(text, text)) for text in texts), 1e-12),
        Check("tokens that the English rule leaves of 30 Arabic stems", english, 0.5),
    ]


def running(source: str) -> tuple[list[Check], str]:
    """A model asked the 30 questions and a row that does not fit: the table adds up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "multiple-choice-questions.csv").open("w", encoding="utf-8-sig", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["Question", "Answer", "Category"])
            for text, place, _ in questions():
                lines.writerow([text, text.splitlines()[1 + place], "facts"])
            lines.writerow(["أي؟\nأ. هذا\nب. ذاك", "أ. شيء آخر", "facts"])
        model = open_language_model(source, cache=False)
        scores = arabic_medical([model], folder=folder, sets=["multiple-choice-questions"])
    rows = list(scores.rows())
    (whole,) = [group for group in groups(scores) if group.group == "all"]
    right = sum(row["chosen"] == row["gold"] for row in rows if row["gold"] is not None)
    checks = [
        Check("questions counted, against 30", abs(whole.num - 30), 0.5),
        Check("rows left out, against 1", abs(whole.num_left_out - 1), 0.5),
        Check("accuracy against a recount", abs(whole.value - right / 30), 1e-12),
    ]
    told = f"{whole.value:.0%} ({whole.low:.0%} to {whole.high:.0%}), {whole.num_unread} answers not to be read"
    return checks, f"Plumbing, not ability: {source} on the 30 questions: {told}."


def band() -> str:
    """d' of true against shuffled pairs: an answer in a sentence against its reference, by chrF and by BERTScore of SmolLM2's
    layer 15."""
    references = [f"{stem} {right}" for stem, right, _ in FACTS]
    candidates = [f"أعتقد أن الجواب هو {right}" for _, right, _ in FACTS]
    others = [*references[1:], *references[:1]]
    true, shuffled = (bert_score(candidates, pairs, encoder="smollm2", layer=15) for pairs in (references, others))
    by_chrf = separation([chrf(a, b) for a, b in zip(candidates, references)], [chrf(a, b) for a, b in zip(candidates, others)])
    return (
        f"Separation of true from shuffled pairs at n=30: chrF d'={by_chrf:.2f}; "
        f"BERTScore (smollm2, layer 15, raw) d'={separation(true, shuffled):.2f} "
        f"in a band from {min(*true, *shuffled):.3f} to {max(*true, *shuffled):.3f}."
    )
