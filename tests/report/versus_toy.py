"""Two small methods for a real run: a corpus, and scores that say what the documents are."""

from metier.artifacts import Comparison, Corpus, Scores, Verdict


def words(*, source: str) -> Corpus:
    rows = [
        {"id": str(i), "text": f"{source} {i}", "source": source, "drop_reason": None if i else "first", "error": None}
        for i in range(9)
    ]
    return Corpus.from_rows(rows)


def versus(corpus: Corpus) -> Scores:
    row = {"item": "1", "task": "naming", "role": "acquired", "kind": "sample", "model": "base", "metric": "accuracy"}
    row |= {"numerator": 1.0, "denominator": 1.0, "prompt": "Say it", "completion": next(corpus.rows())["text"]}
    scores = Scores.from_rows([row])
    values = {"base": 0.2, "base_low": 0.1, "base_high": 0.3, "candidate": 0.6, "candidate_low": 0.5, "candidate_high": 0.7}
    scores.comparisons = [
        Comparison(
            "naming",
            "acquired",
            "accuracy",
            "higher",
            50,
            **values,
            difference=0.4,
            low=0.3,
            high=0.5,
            p=0.0,
            p_holm=0.0,
            outcome="better",
        )
    ]
    scores.verdict = Verdict("specialist", "A specialist in naming.")
    return scores
