"""Templates: wrong ones never stop a message, hostile ones reach nothing and end."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from exporter.alerts.composing.sandbox import MOST_SECONDS
from exporter.alerts.composing.templates import KNOWN, Templates
from exporter.errors import ConfigurationError

from . import examples

ROOT = Path(__file__).parents[2]
NAME = "title.txt"
BUILTIN = "Performance of flight_delay dropped"


class Own:
    """A directory with templates, and the failures that were counted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.failures: list[str] = []
        self.templates = Templates(directory, on_failure=self.failures.append)

    def write(self, source: str, name: str = NAME) -> None:
        (self.directory / name).write_text(source, encoding="utf-8")

    def render(self, source: str, **context: object) -> str | None:
        """Give the text of a template of one's own; None when it failed."""
        self.write(source)
        return self.templates.own(NAME, **{"message": examples.performance_drop(), **context})


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


def test_own_template_takes_the_place_of_the_built_in_one(own: Own) -> None:
    """A file of a known name is used, and without it the built-in one."""
    message = examples.performance_drop()
    assert own.templates.render(NAME, message=message) == BUILTIN
    own.write("{{ message.model }}: {{ message.views[0].facts.current | percent }}")
    assert own.templates.render(NAME, message=message) == "flight_delay: 70.7 %"
    assert own.failures == []


def test_changed_template_is_read_again(own: Own) -> None:
    """No restart is needed after a template was changed, added or removed."""
    message = examples.performance_drop()
    for text in ("one", "another", "a third"):
        own.write(text)
        assert own.templates.render(NAME, message=message) == text
    (own.directory / NAME).unlink()
    assert own.templates.render(NAME, message=message) == BUILTIN


def test_template_that_fails_falls_back_and_is_logged_once(
    own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    """The built-in template is used; each failure counts, the log names file and line once."""
    own.write("first line\n{{ message.views[0].titel }}")
    for _ in range(3):
        assert own.templates.render(NAME, message=examples.performance_drop()) == BUILTIN
    assert own.failures == [NAME] * 3
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "title.txt:2" in told[0]
    assert "titel" in told[0]


def test_template_that_became_unreadable_falls_back(own: Own, caplog: pytest.LogCaptureFixture) -> None:
    """A syntax error in a running bridge is a failure like any other, named by its line."""
    own.write("\n\n{% if %}")
    assert own.templates.render(NAME, message=examples.performance_drop()) == BUILTIN
    own.write(b"\xff\xfe".decode("latin-1"))
    (own.directory / NAME).write_bytes(b"\xff\xfe{{")
    assert own.templates.render(NAME, message=examples.performance_drop()) == BUILTIN
    assert own.failures == [NAME, NAME]
    assert "title.txt:3" in caplog.text


def test_what_is_missing_is_an_empty_text(own: Own) -> None:
    """A label, an annotation or a link that an alert does not have does not make a template fail."""
    source = (
        "{% set view = message.views[0] %}[{{ view.alert.annotations.owner }}|{{ view.links.chart }}|"
        "{{ view.alert.labels.team.name }}|{{ view.alert.labels['x'] | upper }}]"
    )
    assert own.render(source) == "[|||]"
    assert own.render("{{ misspelt }}") is None


MANY = "{% for i in range(99) %}"
END = "{% endfor %}"

HOSTILE = {
    "a text multiplied": "{{ 'x' * 1000000000 }}",
    "a power": "{{ 10 ** 1000000000 }}",
    "a format": "{{ '%1000000000d' % 1 }}",
    "a format method": "{{ '{:1000000000}'.format(1) }}",
    "padding": "{{ 'x'.ljust(1000000000) }}",
    "a wide filter": "{{ 'x' | indent(1000000000) | replace('x', 'y') }}",
    "a long range": "{% for i in range(100000000) %}x{% endfor %}",
    "loops in loops": "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "doubling": "{% set n = namespace(x='xxxxxxxx') %}"
    + MANY
    + "{% set n.x = n.x ~ n.x %}"
    + END
    + "{{ n.x }}",
    "doubling by adding": "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(99) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "doubling a block": "{% set n = namespace(x='x') %}"
    + MANY
    + "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"
    + END,
    "doubling by replacing": "{% set n = namespace(x='xx') %}{% for i in range(99) %}"
    "{% set n.x = n.x | replace('x', n.x) %}{% endfor %}",
    "doubling by joining": "{% set n = namespace(x='xx') %}{% for i in range(99) %}"
    "{% set n.x = [n.x, n.x] | join(n.x) %}{% endfor %}",
    "nested lists": "{% set n = namespace(x=[1]) %}"
    + MANY
    + "{% set n.x = [n.x, n.x] %}"
    + END
    + "{{ n.x | string }}",
    "namespaces in lists": "{% set n = namespace(x=1) %}{% set n.x = [n, n] %}{{ n.x | string }}",
    "a macro that calls itself": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "a block that shows itself": "{% block x %}{{ self.x() }}{{ self.x() }}{% endblock %}",
    "an include of itself": "{% include 'title.txt' %}{% include 'title.txt' %}",
    "a big text": "{% for i in range(1000) %}{% for j in range(100) %}{{ message.title }}{{ message.title }}"
    "{% endfor %}{% endfor %}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "the environment": "{{ message.__init__.__globals__ }}",
    "attributes by name": "{{ message | map(attribute='__class__') | list }}",
    "attributes of items": "{{ [message] | map(attribute='__class__') | list }}",
    "joined attributes": "{{ [message] | join(attribute='__class__') }}",
    "a setter": "{{ message.views[0].alert.labels.clear() }}",
    "another file": "{% include '../../../../../../../../etc/passwd' %}",
    "a file by its path": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}{{ os.environ }}",
    "a whole object": "{{ message }}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_template_ends_soon_and_gives_nothing(own: Own, source: str) -> None:
    """What would fill the memory, never end or reach out of the template fails within the time limit."""
    begin = time.monotonic()
    text = own.render(source)
    assert time.monotonic() - begin < MOST_SECONDS + 2
    assert text is None or len(text) < 100
    assert text is None or "root:" not in text
    if text is None:
        assert own.failures == [NAME]
        assert own.templates.render(NAME, message=examples.performance_drop()) == BUILTIN


def test_hostile_values_do_not_run(own: Own) -> None:
    """Template syntax in labels and annotations is text."""
    message = examples.hostile("{{ 7 * 7 }}{% for x in y %}")
    own.write("{{ message.views[0].summary }}")
    assert own.templates.render(NAME, message=message) == "{{ 7 * 7 }}{% for x in y %}"


def test_html_is_escaped(tmp_path: Path) -> None:
    """Files of the name .html escape what they show, others do not; joined texts included."""
    (tmp_path / "email.html").write_text("{{ text }}{{ text ~ '<b>' }}{{ [text, '<i>'] | join('&') }}")
    (tmp_path / "email.txt").write_text("{{ text }}")
    templates = Templates(tmp_path, on_failure=lambda _: None)
    assert templates.render("email.html", text="<") == "&lt;&lt;&lt;b&gt;&lt;&amp;&lt;i&gt;"
    assert templates.render("email.txt", text="<") == "<"


def test_part_can_be_included_and_a_built_in_one_kept(own: Own) -> None:
    """Names with an underscore are parts; `builtin/NAME` is what would be used without the directory."""
    own.write("by {{ message.model }}", "_sender.txt")
    text = own.render("{% include 'builtin/title.txt' %}, {% include '_sender.txt' %}")
    assert text == f"{BUILTIN}, by flight_delay"


def test_link_out_of_the_directory_is_not_followed(
    own: Own, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A symbolic link to a file elsewhere is not there, one inside the directory is (as in ConfigMaps)."""
    secret = tmp_path_factory.mktemp("other") / "secret.txt"
    secret.write_text("secret")
    (own.directory / "_out.txt").symlink_to(secret)
    assert own.render("{% include '_out.txt' %}") is None
    (own.directory / "..data").mkdir()
    (own.directory / "..data" / "_in.txt").write_text("inside")
    (own.directory / "_in.txt").symlink_to(Path("..data") / "_in.txt")
    assert own.render("{% include '_in.txt' %}") == "inside"


def test_wrong_templates_are_named_at_start(tmp_path: Path) -> None:
    """Syntax errors, unknown filters and recursive loops name file and line; all of them are listed."""
    (tmp_path / "title.txt").write_text("\n{% endif %}")
    (tmp_path / "email.txt").write_text("{{ x | nofilter }}")
    (tmp_path / "_part.txt").write_text("{% for x in y recursive %}{% endfor %}")
    with pytest.raises(ConfigurationError) as caught:
        Templates(tmp_path, on_failure=lambda _: None)
    places = [place for place, _ in caught.value.problems]
    assert places == [
        f"templates.directory: {name}" for name in ("_part.txt:1", "email.txt:1", "title.txt:2")
    ]
    with pytest.raises(ConfigurationError, match="expected a directory"):
        Templates(tmp_path / "none", on_failure=lambda _: None)


def test_unknown_names_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that nothing reads is told, with the names that are known."""
    (tmp_path / "slack.md").write_text("{% broken")
    (tmp_path / ".hidden").write_text("")
    with caplog.at_level(logging.WARNING):
        Templates(tmp_path, on_failure=lambda _: None)
    assert "slack.md" in caplog.text
    assert "hidden" not in caplog.text
    assert all(name in caplog.text for name in KNOWN)


def test_filters_write_numbers_for_people(own: Own) -> None:
    """Four digits, units and zones; what is no number is nothing."""
    source = (
        "{{ (0.1 + 0.2) | number }} {{ 4210 | number }} {{ none | number }}{{ 0.0512 | percent }} "
        "{{ 5400 | duration }} {{ 0 | time }} {{ [1, 2, 3] | sparkline }} {{ '<a&' | slack_escape }} "
        "{{ 'abcdef' | cut(4) }}"
    )
    assert own.render(source) == "0.3 4,210 5.12 % 1h 30m 1970-01-01 00:00 UTC ▁▅█ &lt;a&amp; abc…"
    (own.directory / NAME).write_text("{{ 0 | time }}")
    local = Templates(own.directory, on_failure=lambda _: None, timezone="Europe/Vienna")
    assert local.render(NAME) == "1970-01-01 01:00 CET"


def test_documented_names_exist(own: Own) -> None:
    """What the documentation lists as usable renders for every example, and every filter is in its table."""
    page = (ROOT / "docs/notifications.md").read_text(encoding="utf-8")
    shown = next(block for block in page.split("```") if "{{ message.title }}" in block)
    makers = (examples.performance_drop, examples.column_drift, examples.resolved, examples.test_message)
    for make in makers:
        assert own.render(shown, message=make()) is not None
    for name in ("number", "percent", "duration", "time", "sparkline", "slack_escape", "cut"):
        assert f"| `{name}` |" in page
    assert all(f"`{name}`" in page for name in KNOWN)
    assert own.failures == []


def test_built_in_templates_are_those_that_are_known() -> None:
    """Each name that may be overridden, but the webhook's body, has a built-in template."""
    shipped = {path.name for path in (ROOT / "exporter/alerts/composing/builtin").iterdir() if path.is_file()}
    assert {name for name in shipped if not name.startswith("_")} == set(KNOWN) - {"webhook.json"}


@pytest.mark.slow
def test_wheel_ships_the_built_in_templates(tmp_path: Path) -> None:
    """What is installed has every built-in template of the source."""
    builtin = ROOT / "exporter" / "alerts" / "composing" / "builtin"
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No module named" in done.stderr:
        pytest.skip("hatchling is not installed")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        shipped = {Path(name).name for name in wheel.namelist() if "composing/builtin/" in name}
    assert shipped == {path.name for path in builtin.iterdir() if path.is_file()}
