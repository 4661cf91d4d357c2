"""Renders a Helm chart with Helm's own engine; a program of its own, which keeps Go's run time out of the tests.

Reads a JSON object (chart, values, name, namespace) and writes one: `manifests` or `error`, and what the linter found.
"""

import json
import sys

import helm_python


def main() -> None:
    asked = json.load(sys.stdin)
    told: dict[str, object] = {}
    try:
        with helm_python.Chart.load(asked["chart"]) as chart:
            chart.validate_schema(asked["values"])
            told["manifests"] = chart.render(asked["values"], name=asked["name"], namespace=asked["namespace"])
    except helm_python.HelmError as error:
        told["error"] = str(error)
    told["lint"] = helm_python.lint(asked["chart"], asked["values"])
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
