"""What the benchmark prints and draws of its measurements."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from benchmarks import chart
from benchmarks.measured import Row, spread

RATE = Row(
    part="throughput, SQLite",
    name="first sync, <1,000> jobs",
    unit="jobs a second",
    values=(200.0, 150.0, 300.0),
    yardstick=(100.0, 100.0, 100.0),
    yardstick_name="bare",
)
GROWTH = Row(part="growth", name="push, 1,000 jobs", unit="CPU ms a job", values=(0.5,))


def test_of_several_rounds_the_median_and_the_spread_are_shown() -> None:
    assert spread((3.0, 1.0, 2.0)) == "2 (1 to 3)"
    assert spread((0.1234,)) == "0.123"
    assert spread((12_345.6,)) == "12,346"
    assert RATE.cells()[1:] == ("200 (150 to 300)", "100 bare", "2 (1.5 to 3)")
    assert GROWTH.cells() == ("push, 1,000 jobs (CPU ms a job)", "0.5", "", "")


def test_the_document_holds_each_round_and_the_picture_each_row() -> None:
    document = json.loads(json.dumps(RATE.document()))
    assert document["values"] == [200, 150, 300]
    assert document["median"] == 200
    assert document["ratios"] == [2, 1.5, 3]
    drawn = ET.fromstring(chart.svg([RATE, GROWTH], "a machine"))  # noqa: S314 - our own
    texts = [text for text in drawn.itertext() if text.strip()]
    assert {RATE.name, GROWTH.name, "a machine", "200 (150 to 300)"} <= set(texts)
    assert "bare Celery, two empty messages, SQLite" in texts
