"""Scores of answers."""


def distance(a, b):
    """Edit distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def cer(pairs):
    """Character error rate of (answer, truth) pairs."""
    return sum(distance(a, t) for a, t in pairs) / max(1, sum(len(t) for _, t in pairs))


def gauge_ok(answer, sample):
    """Within 5% of full scale."""
    try:
        return abs(float(answer) - float(sample["answer"])) <= 0.05 * sample["full"] + 1e-9
    except ValueError:
        return False
