# SPDX-License-Identifier: Apache-2.0
"""Values measured in interleaved rounds, and what is said of them."""
import statistics
import time


class Series:
    """Values of one kind, a number for each round."""

    def __init__(self, label, unit="s"):
        self.label, self.unit, self.values = label, unit, []

    def quartiles(self):
        if len(self.values) < 2:
            return (self.values[0],) * 3
        return tuple(statistics.quantiles(self.values, n=4, method="inclusive"))

    def median(self):
        return statistics.median(self.values)


class Result:
    """One table: series, of which `baseline` (a label, or None) is what the others are compared with."""

    def __init__(self, title, baseline=None):
        self.title, self.baseline = title, baseline
        self.series, self.notes, self.commands = [], [], []

    def add(self, label, unit="s"):
        self.series.append(Series(label, unit))
        return self.series[-1]

    def get(self, label):
        return next((series for series in self.series if series.label == label), None)

    def ratio(self, series):
        """Median over the rounds of baseline / value (of rates: value / baseline): how many times as fast (or small) as the
        baseline."""
        base = self.get(self.baseline)
        if not base or base.unit != series.unit:
            return None
        is_rate = series.unit.endswith("/s")
        pairs = [v / b if is_rate else b / v for b, v in zip(base.values, series.values) if v > 0 and b > 0]
        return statistics.median(pairs) if pairs else None

    def as_json(self):
        return {"title": self.title, "baseline": self.baseline, "notes": self.notes, "commands": self.commands,
                "series": [{"label": s.label, "unit": s.unit, "values": s.values} for s in self.series]}


def timed(function):
    """A function that returns how many seconds the call took."""
    def call():
        start = time.monotonic()
        function()
        return time.monotonic() - start
    return call


def interleave(result, rounds, contestants, warm_up=1, rest=0.0):
    """Each round calls all contestants {label: function that returns a value}, each round in another order, so
    that a busy moment of the machine hits none of them alone. Before each call, rest seconds: for what the one before
    left running."""
    labels = list(contestants)
    for label in labels:
        if not result.get(label):
            result.add(label)
    for number in range(-warm_up, rounds):
        turn = number % len(labels)
        for label in labels[turn:] + labels[:turn]:
            time.sleep(rest)
            value = contestants[label]()
            if number >= 0:
                result.get(label).values.append(value)
    return result
