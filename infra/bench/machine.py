"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from infra.bench.build import Programs
from infra.bench.figures import Machine


def machine_of(folder: Path, programs: Programs, load_before: float) -> Machine:
    """Now. `folder`: where the logs were; `load_before`: the load average as the run began."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [(point, kind) for _, point, kind in mounts if folder.is_relative_to(point)]
    return Machine(
        cpu=models[0] if models else platform.machine(),
        cores=os.cpu_count() or 0,
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        kernel=platform.release().partition("-")[0],
        filesystem=max(holding, key=lambda mount: len(mount[0]))[1],
        python=platform.python_version(),
        go=programs.go_version,
        load_average_before=round(load_before, 2),
        load_average_after=round(os.getloadavg()[0], 2),
    )
