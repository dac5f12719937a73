"""The number of threads that is taken when the caller gives none, and what a caller's number is compared with."""

import os
from pathlib import Path

import pytest

from bark_onnx import Bark, BarkWarning
from bark_onnx.graphs import cores
from bark_onnx.graphs.cores import cpu_quota, default_threads, usable_cpus
from bark_onnx.graphs.device import Device


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine of 8 cores without hyper-threading, and a process without limits."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "_SIBLINGS", "/no such file/{}")
    monkeypatch.setattr(cores, "cpu_quota", lambda: None)
    return monkeypatch


def test_without_limits_onnx_runtime_decides(machine: pytest.MonkeyPatch) -> None:
    assert (default_threads(), usable_cpus()) == (None, 8)


@pytest.mark.parametrize(("value", "threads"), [("3", 3), (" 2 ", 2), ("4,2", 4), ("99", 99)])
def test_omp_num_threads(machine: pytest.MonkeyPatch, value: str, threads: int) -> None:
    machine.setenv("OMP_NUM_THREADS", value)
    machine.setattr(cores, "cpu_quota", lambda: 1.0)
    assert default_threads() == threads


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "2.5", "9" * 5000, "²", ","])
def test_an_invalid_omp_num_threads_is_ignored(machine: pytest.MonkeyPatch, value: str) -> None:
    machine.setenv("OMP_NUM_THREADS", value)
    assert default_threads() is None


@pytest.mark.parametrize(("quota", "threads"), [(0.1, 1), (1.0, 1), (1.5, 2), (7.9, None), (8.0, None), (64.0, None)])
def test_a_quota_is_rounded_up(machine: pytest.MonkeyPatch, quota: float, threads: int | None) -> None:
    machine.setattr(cores, "cpu_quota", lambda: quota)
    assert (default_threads(), usable_cpus()) == (threads, threads or 8)


def test_affinity(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(os, "sched_getaffinity", lambda process: {2, 5})
    assert (default_threads(), usable_cpus()) == (2, 2)


def test_hardware_threads_of_one_core_are_one_thread(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As ONNX Runtime counts: 8 CPUs are 4 cores. A quota of 5 CPUs is then no limit."""
    for cpu in range(8):
        (tmp_path / str(cpu)).write_text(f"{cpu % 4},{cpu % 4 + 4}\n", encoding="utf-8")
    machine.setattr(cores, "_SIBLINGS", f"{tmp_path}/{{}}")
    assert default_threads() is None
    machine.setattr(cores, "cpu_quota", lambda: 5.0)
    assert default_threads() is None
    machine.setattr(os, "sched_getaffinity", lambda process: {0, 4, 1})
    assert (default_threads(), usable_cpus()) == (2, 3)


def test_the_device_takes_it_and_the_caller_goes_before(machine: pytest.MonkeyPatch, bundle: Path) -> None:
    machine.setenv("OMP_NUM_THREADS", "3")
    assert Device.choose("cpu").threads == 3
    assert Device.choose("cpu", 2).threads == 2
    assert Bark.load(bundle, device="cpu").device.threads == 3


def test_more_threads_than_cpus_get_a_remark(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(cores, "cpu_quota", lambda: 1.5)
    with pytest.warns(BarkWarning, match=r"99 threads on 2 CPUs are slower than 2: leave"):
        assert Device.choose("cpu", 99).threads == 99


def test_as_many_threads_as_cpus_get_none(machine: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    Device.choose("cpu", 8)
    machine.setenv("OMP_NUM_THREADS", "99")  # which is set for many programs together
    Device.choose("cpu")
    assert list(recwarn) == []


# Control groups


def process(directory: Path, mounts: str, groups: str) -> Path:
    (directory / "mountinfo").write_text(mounts, encoding="utf-8")
    (directory / "cgroup").write_text(groups, encoding="utf-8")
    return directory


def group(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".", 1)).write_text(f"{text}\n", encoding="utf-8")


V2 = "29 23 0:26 {root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {root} {point} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("here", "above", "quota"),
    [
        ("150000 100000", "max 100000", 1.5),
        ("max 100000", "50000 100000", 0.5),
        ("400000 100000", "300000 100000", 3.0),
        ("max 100000", "max 100000", None),
        ("damaged", "1 0", None),
    ],
)
def test_version_2(tmp_path: Path, here: str, above: str, quota: float | None) -> None:
    """The group of a service, and the slice above it."""
    group(tmp_path / "sys" / "system.slice", cpu_max=above)
    group(tmp_path / "sys" / "system.slice" / "bark.service", cpu_max=here)
    mounts = V2.format(root="/", point=tmp_path / "sys")
    assert cpu_quota(process(tmp_path, mounts, "0::/system.slice/bark.service\n")) == quota


@pytest.mark.parametrize(
    ("root", "path"), [("/", "/"), ("/docker/abc", "/docker/abc"), ("/", "/../../docker/abc"), ("/", "/docker/abc")]
)
def test_version_1_in_a_container(tmp_path: Path, root: str, path: str) -> None:
    """It sees its own group at the mount, or the path of its group on the host, or a path out of its namespace."""
    group(tmp_path / "sys", cpu_cfs_quota_us="250000", cpu_cfs_period_us="100000")
    mounts = V1.format(root=root, point=tmp_path / "sys")
    assert cpu_quota(process(tmp_path, mounts, f"5:memory:/elsewhere\n3:cpu,cpuacct:{path}\n")) == 2.5


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    group(tmp_path / "sys", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    assert cpu_quota(process(tmp_path, V1.format(root="/", point=tmp_path / "sys"), "1:cpu:/\n")) is None


def test_both_versions_at_once(tmp_path: Path) -> None:
    group(tmp_path / "one", cpu_cfs_quota_us="100000", cpu_cfs_period_us="100000")
    mounts = V1.format(root="/", point=tmp_path / "one") + V2.format(root="/", point=tmp_path / "two")
    assert cpu_quota(process(tmp_path, mounts, "1:cpu,cpuacct:/\n0::/\n")) == 1.0


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "no proc") is None
    assert cpu_quota(process(tmp_path, "", "")) is None


def test_this_process() -> None:
    """Whatever limits it: the files of this system can be read."""
    quota = cpu_quota()
    assert quota is None or quota > 0
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
