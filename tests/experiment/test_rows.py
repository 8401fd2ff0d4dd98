"""The CSV files of a run: whole at any moment, and cut back where a run goes on."""

import math

import pytest

import trifolium as tri
from trifolium.experiment.rows import CsvFile, EpisodeRow, EvaluationRow, read_rows

ROWS = [EpisodeRow(10 * i, i, i / 3, 10, 0.1 * i, math.nan if i < 2 else i / 7) for i in range(1, 6)]


def test_what_is_written_can_be_read_while_the_file_is_open(tmp_path):
    log = CsvFile(tmp_path / "a.csv", EpisodeRow, agents=False)
    for count, row in enumerate(ROWS, start=1):
        log.append(row)
        found = read_rows(tmp_path / "a.csv", EpisodeRow)
        assert repr(found) == repr(ROWS[:count])  # to the bit, nan included
    log.close()


def test_agents_are_a_column_only_where_they_are_asked_for(tmp_path):
    row = EpisodeRow(1, 1, 1.0, 1, 0.0, 0.5, agent="wolf, grey")
    for agents, columns in ((True, 7), (False, 6)):
        log = CsvFile(tmp_path / f"{agents}.csv", EpisodeRow, agents=agents)
        log.append(row)
        log.close()
        header = (tmp_path / f"{agents}.csv").read_text().splitlines()[0]
        assert header.count(",") + 1 == columns
        (found,) = read_rows(tmp_path / f"{agents}.csv", EpisodeRow)
        assert found.agent == ("wolf, grey" if agents else "agent")


def test_a_log_that_goes_on_forgets_what_came_after(tmp_path):
    path = tmp_path / "a.csv"
    log = CsvFile(path, EpisodeRow, agents=False)
    for row in ROWS[:3]:
        log.append(row)
    size = log.size()
    assert size == path.stat().st_size
    log.append(ROWS[4])
    log.close()
    log = CsvFile(path, EpisodeRow, agents=False, size=size)
    for row in ROWS[3:]:
        log.append(row)
    log.close()
    assert repr(read_rows(path, EpisodeRow)) == repr(ROWS)


def test_a_log_that_is_too_short_is_no_part_of_the_run(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("step\n")
    with pytest.raises(tri.CheckpointError, match="shorter"):
        CsvFile(path, EpisodeRow, agents=False, size=100)
    assert path.read_text() == "step\n"


def test_a_line_without_an_end_is_left_out(tmp_path):
    path = tmp_path / "a.csv"
    log = CsvFile(path, EpisodeRow, agents=False)
    for row in ROWS:
        log.append(row)
    log.close()
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    assert repr(read_rows(path, EpisodeRow)) == repr(ROWS[:-1])


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "step,episodes\n", "\0\n"])
def test_another_file_is_no_record(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    for kind in (EpisodeRow, EvaluationRow):
        with pytest.raises(tri.CheckpointError, match=r"a\.csv"):
            read_rows(tmp_path / "a.csv", kind)


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "a.csv"
    log = CsvFile(path, EpisodeRow, agents=False)
    log.append(ROWS[0])
    log.close()
    path.write_text(path.read_text() + "1,2\n")
    with pytest.raises(tri.CheckpointError, match=r"a\.csv"):
        read_rows(path, EpisodeRow)
