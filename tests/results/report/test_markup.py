"""Markup that users' texts cannot become part of."""

import json

from edgesim.results.report.markup import Html, join, script_json, tag
from tests.results.report.documents import EVIL


def test_texts_are_escaped_and_markup_is_not():
    """Children and attribute values; `Html` stays what it is; None leaves out."""
    inner = tag("b", EVIL)

    assert tag("p", "a & b", inner, None, title='"x"') == f'<p title="&quot;x&quot;">a &amp; b{inner}</p>'
    assert "<script" not in inner
    assert tag("div", hidden=True, class_="a", aria_label=None, data_v=0) == '<div hidden class="a" data-v="0"></div>'
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert join(["<", Html("<i>"), None]) == "&lt;<i>"


def test_json_cannot_end_its_script():
    """Nothing in it that HTML reads, and it is the same JSON."""
    text = script_json({"name": EVIL})

    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"name": EVIL}
