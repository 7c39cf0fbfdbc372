"""YAML as DVC writes it. For src.params.

DVC writes 1e-05 for 0.00001, which YAML 1.1, PyYAML's, reads as text.
"""

import re

import yaml


class Yaml12(yaml.SafeLoader):
    """YAML 1.2 scalars, as DVC writes them: 1e-05 is a number, and `no`, `on` or 1:30 are text."""


Yaml12.yaml_implicit_resolvers = {}
Yaml12.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))  # 010 is ten
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
