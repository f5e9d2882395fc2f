"""What happens to a file: every prefix of a text, and many texts in a row."""

from core.llm.testing.config_faults import half_writes, save_storm


def test_half_writes_leave_each_prefix_and_then_the_whole(tmp_path) -> None:
    path = tmp_path / "llm.yaml"
    seen = [(size, path.read_text()) for size in half_writes(path, "abcde", step=2)]
    assert seen == [(2, "ab"), (4, "abcd"), (5, "abcde")]


def test_a_storm_ends_with_the_last_text_and_leaves_no_other_file(tmp_path) -> None:
    path = tmp_path / "llm.yaml"
    assert save_storm(path, [f"number {number}" for number in range(7)]) == 7
    assert path.read_text() == "number 6"
    assert list(tmp_path.iterdir()) == [path]
    assert save_storm(path, []) == 0
