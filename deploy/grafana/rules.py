"""Thresholds of the alerts, so that a panel turns red where an alert fires.

Read from the text: Python has no YAML of its own, and the files have one shape.
"""

import math
import pathlib
import re

RULES = pathlib.Path(__file__).resolve().parent.parent / "prometheus" / "rules"


def expression(alert):
    """The expression of an alert, without comments."""
    text = "".join(file.read_text() for file in sorted(RULES.glob("*-alerts.yml")))
    found = re.search(rf"- alert: {alert}\n\s+expr: (.*?)\n\s+for: ", text, re.DOTALL)
    if not found:
        raise SystemExit(f"{RULES} has no alert {alert} with an expression and a time")
    return found[1]


def number(product):
    """What `10 * 86400` comes to; whole numbers as integers, as JSON writes them."""
    value = math.prod(float(factor) for factor in product.split("*"))
    return int(value) if value.is_integer() else value


def threshold(alert, comparison=-1):
    """What the alert compares with; of several comparisons as a rule the last, which is the condition and not a guard."""
    compared = re.findall(r"[<>]=? *([0-9.]+(?: *\* *[0-9.]+)*)", expression(alert))
    if not compared:
        raise SystemExit(f"the expression of {alert} compares with no number")
    return number(compared[comparison])


def percent(share):
    return f"{100 * share:g} %"
