"""Whatever params.yaml holds: settings, or one line that says what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.core.errors import UserError
from src.settings import settings as settings_settings
from src.settings.settings import Settings

NAMES = sorted(settings_settings.flat(Settings().model_dump()))
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats()
    | st.text(max_size=30)
    | st.dates()
    | st.binary(max_size=10)
    | st.sampled_from(
        ["cifar10", "auto", "full", "one_cycle", "resnet18", "", "null", "1e5", "0x10", "1_000", "~", "no"]
    )
)
VALUES = st.recursive(
    PLAIN, lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8) | PLAIN, part, max_size=4)
)
FILES = settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def judged(path: Path) -> list[str]:
    """What is wrong with how a file is answered: by settings, or by one printable line that names the file."""
    try:
        result = settings_settings.load(path)
    except UserError as error:
        said = str(error)
        faults = {
            "does not name the file": str(path) not in said,
            "is not one line": len(said.splitlines()) != 1,
            "is long": len(said) >= 2_000,
            "cannot be printed": said.encode(errors="replace").decode() != said,
        }
        return [fault for fault, is_so in faults.items() if is_so]
    same = Settings.model_validate(result.model_dump()).model_dump() == result.model_dump()
    return [] if same else ["settings that are not valid"]


def nested(values: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        if key and isinstance(result.setdefault(section, {}), dict):
            result[section][key] = value
        else:
            result[section] = value
    return result


@FILES
@given(values=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=12), VALUES, max_size=6))
def test_any_value_of_any_setting(tmp_path, values):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(nested(values), allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    assert judged(path) == []


@FILES
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert judged(path) == []


@FILES
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert judged(path) == []


@pytest.mark.parametrize(
    "text",
    [
        f"seeds: [{'9' * 5000}]",
        f"finetune: {{lr: 1{'0' * 400}.0}}",
        "classes: " + "[" * 2000,
        "a: &a [1]\n" + "".join(f"b{i}: &b{i} [{', '.join(['*a'] * 9)}]\n" for i in range(9)),
        "seeds: !!python/object/apply:os.system ['true']",
        "? [1, 2]\n: 3",
        "seeds: [1]\nseeds: [2]",
        "<<: 5",
        "classes: [" + ", ".join(["😀" * 5000] * 2) + "]",
    ],
)
def test_what_breaks_parsers(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert judged(path) == []
