"""A container's quota of CPUs, from files as Linux writes them."""

from __future__ import annotations

import pytest

from fastbackprop import threads
from fastbackprop.cgroups import cpu_quota

V1 = "11:memory:/a/b\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a/b\n"


def files(root, groups, contents):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in contents.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return str(root)


@pytest.mark.parametrize(
    ("groups", "contents", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/\n", {}, None),
        ("0::/pod/one\n", {"pod/one/cpu.max": "max 100000", "pod/cpu.max": "300000 100000"}, 3.0),
        ("0::/pod/one\n", {"pod/one/cpu.max": "400000 100000", "pod/cpu.max": "300000 100000"}, 3.0),
        ("0::/pod/one\n", {"pod/one/cpu.max": "5000 10000", "pod/cpu.max": "max 100000"}, 0.5),
        ("0::/host/only\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/../other\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/odd:name\n", {"odd:name/cpu.max": "100000 100000"}, 1.0),
        ("0::/\n", {"cpu.max": "damaged"}, None),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "250000", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000"}, 2.5),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000"}, None),
        (V1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        (
            V1,
            {
                "cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000",
                "cpu,cpuacct/a/cpu.cfs_quota_us": "100000", "cpu,cpuacct/a/cpu.cfs_period_us": "50000",
            },
            2.0,
        ),
        ("1:cpuset:/a\n0::/b\n", {"unified/b/cpu.max": "100000 100000"}, 1.0),
        ("nonsense\n", {"cpu.max": "100000 100000"}, None),
    ],
)  # fmt: skip
def test_the_least_quota_of_a_group_and_those_around_it(tmp_path, groups, contents, quota):
    assert cpu_quota(files(tmp_path, groups, contents)) == quota


def test_no_linux(tmp_path):
    assert cpu_quota(str(tmp_path)) is None


@pytest.mark.parametrize(("quota", "count"), [(None, 8), (2.0, 2), (1.2, 2), (0.1, 1), (64.0, 8)])
def test_threads_follow_the_quota(monkeypatch, quota, count):
    for name in ("FASTBACKPROP_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert threads.available() == count
    monkeypatch.setenv("FASTBACKPROP_NUM_THREADS", "5")
    assert threads.available() == 5
