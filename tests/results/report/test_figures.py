"""Numbers for people."""

import pytest

from edgesim.results.report.figures import count, measured, ms, percent, rate, seconds, size


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (ms(None), "\N{EN DASH}"), (ms(0.001234), "1.23 ms"), (ms(0.0456), "45.6 ms"), (ms(0.789), "789 ms"), (ms(12.34), "12.3 s"),
        (count(1234567), "1,234,567"), (percent(0), "0 %"), (percent(0.00012), "0.012 %"), (percent(0.0123), "1.23 %"),
        (percent(0.5), "50.0 %"), (percent(1), "100 %"), (rate(12.34), "12.3/s"), (rate(1234.5), "1,234/s"), (rate(None), "\N{EN DASH}"),
        (seconds(12.0), "12 s"), (seconds(245), "4 min 5 s"), (size(512), "512 B"), (size(1536), "1.5 KiB"), (size(5 << 30), "5.0 GiB"),
        (measured({"unit": "s", "measured": 0.25}, "measured"), "250 ms"), (measured({"unit": "share", "limit": 0.01}, "limit"), "1.00 %"),
        (measured({"unit": "", "measured": None}, "measured"), "\N{EN DASH}"),
    ],
)  # fmt: skip
def test_figures(shown, text):
    """Three significant digits, a unit, a dash where nothing was measured."""
    assert shown == text
