"""How the dashboards ask Prometheus: every expression is made of these few functions.

Each of them is zero, not absent, while nothing happens, so that an empty panel always means that
something is missing.
"""

# Every selector has these; the dashboards' variables decide what they let through.
CHOSEN = 'job=~"$job",instance=~"$instance"'


def metric(name: str, **labels: str) -> str:
    """A selector; a label's value is a regular expression if it has one of '|*+'."""
    more = "".join(
        f',{label}{"=~" if set(value) & set("|*+") else "="}"{value}"'
        for label, value in labels.items()
    )
    return f"{name}{{{CHOSEN}{more}}}"


def rate(name: str, **labels: str) -> str:
    """Of a counter, a second."""
    return f"rate({metric(name, **labels)}[$__rate_interval])"


def grew(name: str, **labels: str) -> str:
    """Of a counter, since the last point of the graph or a little longer."""
    return f"increase({metric(name, **labels)}[$__rate_interval])"


def total(expression: str, *by: str) -> str:
    return _over("sum", expression, by)


def most(expression: str, *by: str) -> str:
    return _over("max", expression, by)


def least(expression: str, *by: str) -> str:
    return _over("min", expression, by)


def ratio(part: str, whole: str) -> str:
    """0 where the whole is 0."""
    return f"{part} / clamp_min({whole}, 1e-9)"


def quantile(part: float, histogram: str, *by: str) -> str:
    """Of a histogram; 0 where nothing was counted."""
    buckets = total(rate(f"{histogram}_bucket"), "le", *by)
    nothing = total(rate(f"{histogram}_count"), *by)
    return f"(histogram_quantile({part}, {buckets}) >= 0) or (0 * {nothing})"


def mean(name: str, count: str, *by: str) -> str:
    """What something took on average, of two counters."""
    return ratio(total(rate(name), *by), total(rate(count), *by))


def _over(how: str, expression: str, by: tuple[str, ...]) -> str:
    return f"{how} by ({', '.join(by)}) ({expression})" if by else f"{how}({expression})"
