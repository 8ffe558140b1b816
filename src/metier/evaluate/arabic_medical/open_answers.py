"""How near a written Arabic answer is to the reference: chrF, ROUGE-L on Arabic tokens, BERTScore with a stated encoder."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence

from metier.evaluate.arabic_medical.letters import FORMS, Form, folded

ORDER, BETA = 6, 2.0  # chrF's usual length of character n-grams and weight of recall


def tokens(text: str, forms: Collection[Form] = FORMS) -> list[str]:
    """Words and numbers in any script. (The usual English tokeniser keeps a-z and 0-9 alone: of Arabic nothing is left, and
    ROUGE is 0 between equal texts.)"""
    return re.findall(r"\w+", folded(text, forms))


def rouge_l(candidate: str, reference: str, forms: Collection[Form] = FORMS) -> float:
    """F1 of the longest common subsequence of tokens, 0 to 1 (Lin 2004); 0 where either is empty."""
    ours, theirs = tokens(candidate, forms), tokens(reference, forms)
    row = [0] * (len(theirs) + 1)
    for token in ours:
        above = 0
        for place, other in enumerate(theirs, start=1):
            above, row[place] = row[place], above + 1 if token == other else max(row[place], row[place - 1])
    return 2 * row[-1] / (len(ours) + len(theirs)) if ours and theirs else 0.0


def chrf(candidate: str, reference: str, forms: Collection[Form] = FORMS) -> float:
    """Character n-gram F2 of one to six characters, 0 to 1 (Popovic 2015): spaces left out, precision and recall averaged over
    the lengths that both texts have. 0 where either is empty."""
    ours, theirs = ("".join(folded(text, forms).split()) for text in (candidate, reference))
    precisions, recalls = [], []
    for size in range(1, ORDER + 1):
        a, b = (Counter(text[start : start + size] for start in range(len(text) - size + 1)) for text in (ours, theirs))
        if a and b:
            common = (a & b).total()
            precisions.append(common / a.total())
            recalls.append(common / b.total())
    if not precisions or not any(precisions):
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def bert_score(candidates: Sequence[str], references: Sequence[str], *, encoder: str, layer: int) -> list[float]:
    """BERTScore's F1 of each pair (Zhang et al., arXiv 1904.09675): each token with its nearest of the other text, by the
    cosine of hidden states of `layer` (0 is the embedding). Raw, neither weighted by rarity nor rescaled; special tokens left
    out. 0 for an empty text.

    Raises ValueError for a layer that the encoder does not have.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    from metier.artifacts.quiet import quiet_transformers
    from metier.models.precision import best_device
    from metier.models.source import open_model

    path = open_model(encoder).path
    with quiet_transformers():
        network = AutoModel.from_pretrained(path, use_safetensors=True, trust_remote_code=False).eval().to(best_device())
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    if not 0 <= layer <= network.config.num_hidden_layers:
        raise ValueError(f"layer={layer}: {encoder} has the layers 0 to {network.config.num_hidden_layers}")
    longest = min(tokenizer.model_max_length, network.config.max_position_embeddings)

    def vectors(text: str) -> torch.Tensor:  # (tokens, width), each of length 1
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=longest, return_special_tokens_mask=True)
        kept = inputs.pop("special_tokens_mask")[0] == 0
        if not kept.any():
            return torch.zeros(0, 1)
        with torch.no_grad():
            hidden = network(**inputs.to(network.device), output_hidden_states=True).hidden_states[layer][0]
        return torch.nn.functional.normalize(hidden[kept.to(hidden.device)].float(), dim=-1)

    found = []
    for candidate, reference in zip(candidates, references, strict=True):
        a, b = vectors(candidate), vectors(reference)
        if len(a) == 0 or len(b) == 0:
            found.append(0.0)
            continue
        cosines = a @ b.T
        precision, recall = cosines.amax(1).mean().item(), cosines.amax(0).mean().item()
        found.append(2 * precision * recall / (precision + recall))
    return found


def separation(true_pairs: Sequence[float], shuffled_pairs: Sequence[float]) -> float:
    """d' of a metric: the mean of true pairs less that of shuffled ones, over the root of their mean variance.

    Below 1 the metric hardly tells an answer from another question's. inf where neither varies and they differ; raises
    ValueError for fewer than two pairs.
    """
    if min(len(true_pairs), len(shuffled_pairs)) < 2:
        raise ValueError("two pairs or more are needed to see how much a metric varies")

    def moments(values: Sequence[float]) -> tuple[float, float]:
        mean = math.fsum(values) / len(values)
        return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)

    (ours, spread), (theirs, other) = moments(true_pairs), moments(shuffled_pairs)
    if spread + other == 0:
        return 0.0 if ours == theirs else math.copysign(math.inf, ours - theirs)
    return (ours - theirs) / math.sqrt((spread + other) / 2)
