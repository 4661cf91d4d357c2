"""What a template has at hand for its copies: modules, and memory."""

import os
import platform
import resource
import sys
from pathlib import Path

import pytest

from dropsweep_trainer.warm import starter
from dropsweep_trainer.warm.template import Options
from tests.emulator.deployment import until
from tests.emulator.trainer.warm import WAIT_S, MakeBench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm starts need Linux")


def test_what_most_scripts_import_is_there_whatever_the_cluster_file_names(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write("import sys; print({'argparse', 'dataclasses', 'random', 'json', 'dropsweep'} - set(sys.modules))")
    bench.template()
    assert bench.run().stdout == "set()\n"


def test_a_dropsweep_that_cannot_be_imported_is_a_matter_of_scripts_that_import_it(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    broken = tmp_path / "dropsweep"
    broken.mkdir()
    (broken / "__init__.py").write_text("import dropsweep.part\nimport nowhere_to_be_found")
    (broken / "part.py").write_text("")
    bench = make_bench(PYTHONPATH=str(tmp_path))
    bench.write("import sys; print([name for name in sys.modules if name.startswith('dropsweep')])")
    bench.template()
    trial = bench.run()
    assert trial.is_warm
    assert trial.stdout == "[]\n"
    bench.write("import dropsweep")
    assert "nowhere_to_be_found" in bench.run().stderr


def test_a_folder_of_modules_may_come_after_the_template(make_bench: MakeBench, tmp_path: Path) -> None:
    late = tmp_path / "late"
    bench = make_bench(PYTHONPATH=str(late))
    bench.write("import latecomer")
    bench.template()
    late.mkdir()
    (late / "latecomer.py").write_text("print('here')")
    trial = bench.run()
    assert trial.is_warm
    assert trial.stdout == "here\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's own making")
def test_a_trial_keeps_the_memory_at_hand_that_it_lets_go_of_and_wants_again(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write(
        "import resource\n"
        "def num_faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def use(): return [bytearray(2 << 20) for _ in range(3)]\n"
        "use()\n"
        "before = num_faults()\n"
        "for _ in range(20): use()\n"
        "print(num_faults() - before)\n"
    )
    bench.template()
    in_all = 20 * 3 * (2 << 20) // resource.getpagesize()
    assert int(bench.run().stdout) < in_all / 4


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not os.path.exists("/sys/kernel/mm/transparent_hugepage"),
    reason="of glibc's own making, in pages that this kernel knows nothing of",
)
def test_the_first_memory_that_a_trial_wants_for_itself_is_asked_for_in_huge_pages(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.write(
        "import ctypes, re\n"
        "block = bytearray(8 << 20)\n"
        "middle = ctypes.addressof(ctypes.c_char.from_buffer(block)) + (4 << 20)\n"
        "for line in open('/proc/self/smaps'):\n"
        "    if found := re.match('([0-9a-f]+)-([0-9a-f]+) ', line):\n"
        "        first, last = (int(address, 16) for address in found.groups())\n"
        "    elif line.startswith('VmFlags:') and first <= middle < last:\n"
        "        print('hg' in line.split())\n"
    )
    bench.template()
    assert bench.run().stdout == "True\n"


def test_what_is_not_installed_is_not_preloaded_and_told_of_once(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    missing = ("nowhere_to_be_found", "nowhere_to_be_found.part", "json.nowhere")
    bench = make_bench(*missing, "colorsys", options=Options((*missing, "colorsys"), max_copies=2))
    first = bench.template()
    assert "colorsys" in first.modules
    until(lambda: bench.run("python3 nothing.py").is_warm and bench.starter.template is not first, WAIT_S)
    assert [record.levelname for record in caplog.records if "preload names" in record.getMessage()] == ["WARNING"]
    assert "nowhere_to_be_found and nowhere_to_be_found.part and json.nowhere, which" in caplog.text


def test_a_module_that_no_cluster_file_names_may_be_missing(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "DEFAULT_PRELOAD", ("nowhere_to_be_found",))
    make_bench("nowhere_to_be_found").template()
    assert "preload names" not in caplog.text
