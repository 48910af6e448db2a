"""What was said, aligned with the reference, word by word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

LETTERS = {"equal": "=", "replace": "S", "delete": "D", "insert": "I"}


def alignment(reference: Sequence[str], said: Sequence[str], clean: Callable[[str], str]) -> str:
    """A letter a step, with the fewest errors: `=` the same word, `S` another one, `D` a word of the reference that is
    missing, `I` one that the reference doesn't have; `d` and `i` a word that doesn't count, of the reference and of what
    was said. clean: what a word counts as; empty for a word that doesn't count."""
    from rapidfuzz.distance import Levenshtein

    words = [[clean(word) for word in side] for side in (reference, said)]
    steps: list[str] = []
    at = [0, 0]

    def go(side: int, count: int, uncounted: str) -> None:
        """Pass words that don't count, then `count` others."""
        while at[side] < len(words[side]) and not words[side][at[side]]:
            steps.append(uncounted)
            at[side] += 1
        at[side] += count

    for step in Levenshtein.opcodes(*([w for w in side if w] for side in words)):
        letter = LETTERS[step.tag]
        for _ in range(max(step.src_end - step.src_start, step.dest_end - step.dest_start)):
            if letter != "I":
                go(0, 1, "d")
            if letter != "D":
                go(1, 1, "i")
            steps.append(letter)
    go(0, 0, "d")
    go(1, 0, "i")
    return "".join(steps)
