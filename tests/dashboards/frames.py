"""What Grafana would have of Prometheus to draw a dashboard at a moment: of each panel its lines,
and the marks of what has happened."""

import re

from prometheus import Prometheus, filled

STEP_SECONDS = 1
# Annotations closer together than this are one mark.
MARK_SECONDS = 5


def frames(prometheus: Prometheus, dashboard: dict, job: str, instance: str, start: int,
           end: int) -> dict:
    """With .+ as the instance for all of the job."""
    answers = {
        panel["id"]: [line for target in panel["targets"]
                      for line in lines_of(prometheus, target, (instance, job), start, end)]
        for panel in dashboard["panels"] if "targets" in panel
    }
    return {
        "dashboard": dashboard, "answers": answers, "from": start, "to": end,
        "annotations": marks(prometheus, dashboard, (instance, job), start, end),
        "variables": {"Job": job, "Instance": "All" if instance == ".+" else instance},
    }


def lines_of(prometheus: Prometheus, target: dict, chosen: tuple[str, str], start: int,
             end: int) -> list[dict]:
    expression = filled(target["expr"], *chosen)
    if target["instant"]:
        found = [(labels, [end], [value]) for labels, value in prometheus.at(expression, end)]
    else:
        found = over(prometheus, expression, start, end)
    return [
        {"refId": target["refId"], "name": legend(target["legendFormat"], labels),
         "labels": labels, "times": times, "values": values}
        for labels, times, values in found
    ]


def over(prometheus: Prometheus, expression: str, start: int,
         end: int) -> list[tuple[dict, list[int], list[float]]]:
    data = prometheus.ask("query_range", query=expression, start=start, end=end,
                          step=STEP_SECONDS)
    return [(it["metric"], [int(time) for time, _ in it["values"]],
             [float(value) for _, value in it["values"]]) for it in data["result"]]


def legend(form: str, labels: dict) -> str:
    """As Grafana has it: `__auto` is the labels where there are any."""
    if form == "__auto":
        return ", ".join(labels.values())
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), form)


def marks(prometheus: Prometheus, dashboard: dict, chosen: tuple[str, str], start: int,
          end: int) -> list[dict]:
    """Where each annotation begins."""
    made = []
    for annotation in dashboard["annotations"]["list"]:
        expression = filled(annotation["expr"], *chosen)
        for _, times, _ in over(prometheus, expression, start, end):
            starts = [time for before, time in zip([start - 2 * MARK_SECONDS, *times], times)
                      if time - before > MARK_SECONDS]
            made += [{"time": time, "color": annotation["iconColor"]} for time in starts]
    return made
