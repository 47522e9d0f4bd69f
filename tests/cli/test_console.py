from __future__ import annotations

import sys

import pytest

from trainctl.cli.console import column_widths, show_failure


def test_names_give_way_before_a_number_is_cut_in_two() -> None:
    columns = [
        ["run", "babyai_goto_obj_dagger_then_ppo-s0-a1b2c3"],
        ["state", "complete, try 3"],
        ["steps", "1,212,345,678"],
        ["last", "40.50  (30.50 … 1.23456e-10)"],
    ]
    name, state, steps, last = column_widths(columns, room=40)
    assert name + state + steps + last == 40
    assert (steps, last) == (13, len("1.23456e-10)"))
    assert state >= len("complete,")


def test_a_table_with_room_enough_is_as_wide_as_its_texts() -> None:
    assert column_widths([["run", "first"], ["", "two\nlines"], ["age"]], room=80) == [5, 5, 3]


def test_names_that_are_to_stay_whole_do_even_where_nothing_else_can_give_way() -> None:
    assert column_widths([["advance_scene_rollout_period"], ["12,345,678"]], room=20, whole_first=True) == [28, 10]


def test_on_a_terminal_commands_are_one_line_that_can_be_copied_and_prose_is_broken_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"COLUMNS": "40", "LINES": "25", "TERM": "dumb"}.items():  # dumb: no colours
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    command = "trainctl resume --checkpoint runs/a-name-that-is-longer-than-the-line"
    show_failure([f"it is wrong\n  go on with it: {command}\n  known: {'words ' * 8}"], [f"  evaluate  {command}"])
    top, *lines, bottom, after = capsys.readouterr().err.splitlines()
    assert {*top.removeprefix("trainctl "), *bottom} == {"─"}
    assert [line.rstrip() for line in lines] == [
        "error: it is wrong",
        f"  go on with it: {command}",
        "  known: words words words words words",
        "  words words words",
    ]
    assert after == f"  evaluate  {command}"
