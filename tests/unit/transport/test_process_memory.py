"""Whether a process died for lack of memory (F138)."""

import signal

import pytest

from core.llm.transport.process_memory import died_of_memory, memory_kills, says_out_of_memory


@pytest.mark.parametrize(
    "text",
    [
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 17179869184",
        "CUDA error: out of memory",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "MemoryError",
        "model requires more system memory (5.6 GiB) than is available",
    ],
)
def test_engines_say_it_in_their_own_words_F138(text):
    assert says_out_of_memory(text)


def test_other_words_are_no_lack_of_memory_F138():
    assert not says_out_of_memory("llama_model_load: error loading model: missing tensor; memory used 3 MiB")


def group(root, kind: str, kills: int):
    """A file tree as the kernel shows it."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    places = {"v2": ("0::/box\n", "box/memory.events"), "v1": ("4:memory:/box\n", "memory/box/memory.oom_control")}
    line, place = places[kind]
    (root / "proc/self/cgroup").write_text(f"3:cpu,cpuacct:/box\n{line}")
    file = root / "sys/fs/cgroup" / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"low 0\nhigh 0\noom 2\noom_kill {kills}\n")
    return root


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_the_kernel_counts_what_it_kills_F138(tmp_path, kind):
    """In both of its ways of grouping processes."""
    assert memory_kills(group(tmp_path, kind, 3)) == 3


def test_a_system_that_does_not_count_is_no_error_F138(tmp_path):
    """Another operating system, or a closed box."""
    assert memory_kills(tmp_path) is None


def test_a_kill_that_the_kernel_counted_was_for_memory_F138():
    """One that it did not count was somebody's wish."""
    killed = -signal.SIGKILL
    assert died_of_memory(killed, "", 3, 4)
    assert not died_of_memory(killed, "", 3, 3)
    assert not died_of_memory(killed, "", None, None)
    assert not died_of_memory(-signal.SIGSEGV, "", 3, 4)
    assert died_of_memory(-signal.SIGABRT, "std::bad_alloc", 3, 3)
    assert not died_of_memory(0, "std::bad_alloc", 3, 3)
