"""A warm trial ends as a cold one does: with the same status, the same words, and nothing lost."""

import re
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.emulator.trainer.warm import Bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm starts need Linux")

ENDS = {
    "by itself": "print('x')",
    "exit without a status": "import sys; sys.exit()",
    "exit with a number": "import sys; sys.exit(3)",
    "exit with a large number": "import sys; sys.exit(1 << 40)",
    "exit with a negative number": "import sys; sys.exit(-1)",
    "exit with a word": "import sys; print('out'); sys.exit('why')",
    "exit with a thing": "raise SystemExit({'a': [1]})",
    "exit with a truth": "raise SystemExit(True)",
    "exit at once": "import os; os._exit(7)",
    "an exception": "def f(x):\n    return g(x)\ndef g(x):\n    return 1 / x\nprint('before')\nf(0)",
    "an exception from another": "try:\n    {}['x']\nexcept KeyError as e:\n    raise ValueError('why') from e",
    "an exception while another is handled": "try:\n    {}['x']\nexcept KeyError:\n    None.x",
    "an exception with notes": "e = ValueError('x')\nif hasattr(e, 'add_note'): e.add_note('note')\nraise e",
    "a group of exceptions": "def f():\n    raise ExceptionGroup('g', [ValueError(1), TypeError(2)])\nf()",
    "too deep": "def f():\n    f()\nf()",
    "no memory": "raise MemoryError",
    "a syntax error": "print('never')\nx = (1,\n",
    "an encoding error": "# -*- coding: latin-1 -*-\nprint('\\xe9')",
    "no encoding": "# \udcff\nprint('x')",
    "an old encoding": "# -*- coding: latin-1 -*-\nprint(ascii('\udce9'))",
    "an unknown encoding": "# -*- coding: nowhere -*-\n",
    "an import error": "import nowhere_to_be_found",
    "a name error with a hint": "values = 1\nprint(valeus)",
    "a hook of its own": "import sys\nsys.excepthook = lambda *a: print('mine', a[0], a[2].tb_lineno)\n1 / 0",
    "a hook that fails": "import sys\ndef hook(*a):\n    raise KeyError('hook')\nsys.excepthook = hook\n1 / 0",
    "a hook that exits": "import sys\nsys.excepthook = lambda *a: sys.exit(5)\n1 / 0",
    "an interruption": "raise KeyboardInterrupt",
    "an interruption by a signal": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "a kill": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "a crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "an abortion": "import os; os.abort()",
    "a pipe that is shut": "import os, signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
    "r, w = os.pipe(); os.close(r); os.write(w, b'x')",
    "what is done at the end": "import atexit\natexit.register(print, 'a')\natexit.register(print, 'b')\n"
    "@atexit.register\ndef f():\n    print('__file__' in globals(), __name__)",
    "what fails at the end": "import atexit\n@atexit.register\ndef f():\n    1 / 0",
    "an exit at the end": "import atexit, sys\n@atexit.register\ndef f():\n    sys.exit(9)\nprint('x')",
    "threads that go on": "import threading, time\ndef f():\n    time.sleep(0.2)\n    print('thread', flush=True)\n"
    "threading.Thread(target=f).start()\nprint('main', flush=True)",
    "a thread that fails": "import threading\ndef f():\n    1 / 0\nt = threading.Thread(target=f, name='T')\n"
    "t.start()\nt.join()",
    "a pool": "from concurrent.futures import ThreadPoolExecutor as P\np = P(2)\n"
    "f = [p.submit(pow, 2, n) for n in range(9)]\n"
    "import atexit\natexit.register(lambda: print(sum(x.result() for x in f)))",
    "daemons": "import threading, time\nf = open('left', 'w'); f.write('daemons')\n"
    "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "an archive beside a daemon": "import bz2, threading, time\nf = bz2.open('left', 'wt'); f.write('x')\n"
    "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "an archive": "import bz2\nf = bz2.open('left', 'wt'); f.write('x')",
    "a file left open": "f = open('left', 'w'); f.write('x' * 10)",
    "a file left open in a module": "import part\npart.f.write('module')",
    "a file left open in a circle": "class A:\n    pass\n"
    "a = A(); a.a = a; a.f = open('left', 'w'); a.f.write('circle')",
    "a file left open by what is kept": "import logging\nlogging.root.addHandler(logging.FileHandler('left'))\n"
    "logging.warning('kept')\nlogging.kept = open('left', 'a'); logging.kept.write('too')",
    "a finalizer": "import sys\nclass A:\n    def __del__(self):\n"
    "        print('gone', sys is not None, __name__, flush=True)\na = A()",
    "finalizers in a circle": "import weakref\nclass A:\n    pass\n"
    "a = A(); a.a = a\nweakref.finalize(a, print, 'final')",
    "a closed output": "import sys; print('x'); sys.stdout.close()",
    "an output of its own": "import io, sys\nsys.stdout = io.StringIO()\nprint('x')",
    "an output that is full": "import os, sys\nsys.stdout = open('/dev/full', 'w')\nprint('x')",
    "no output": "import sys\nsys.stdout = sys.stderr = None",
    "a process of its own": "import os, sys\nif os.fork() == 0:\n    print('child', flush=True); sys.exit(4)\n"
    "print(os.waitstatus_to_exitcode(os.wait()[1]))",
    "processes": "import multiprocessing as m\ndef f(x):\n    return x * x\nif __name__ == '__main__':\n"
    "    for how in ('fork', 'spawn', 'forkserver'):\n"
    "        with m.get_context(how).Pool(2) as p:\n            print(p.map(f, range(5)))",
    "another program": "import os; os.execvp('echo', ['echo', 'x'])",
    "a pickle of its own": "import pickle\nclass A:\n    pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
    "its own source": "import inspect, sys\ndef f():\n    return 1\n"
    "print(inspect.getsource(f), sys.modules['__main__'].f is f)",
    "a deprecation": "import warnings\nwarnings.warn('old', DeprecationWarning)\nx = '\\d'",
    "a main module of its own": "import __main__, runpy\nprint(__main__.__file__ == __file__)\n"
    "print(len(runpy.run_path('part.py')))",
    "no main module": "import sys\ndel sys.modules['__main__']\nprint(len(globals()) > 5)",
    "another main module": "import atexit, json, sys\nsys.modules['__main__'] = json\n"
    "atexit.register(lambda: print('__file__' in globals()))",
    "something else for a main module": "import sys\nsys.modules['__main__'] = 3\nopen('left', 'w').write('x')",
    "no modules": "import sys\nsys.modules.clear()",
    "what is done at the end of an exit": "import atexit, sys\n@atexit.register\ndef f():\n"
    "    print('__file__' in globals())\nsys.exit(2)",
    "a future": "from __future__ import annotations\ndef f(x: nowhere): pass\nprint(f.__annotations__)",
    "no output at all": "",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    found = Bench(tmp_path_factory.mktemp("ends"))
    found.write("f = open('left', 'w')\n", "part.py")
    yield found
    found.close()


def comparable(stderr: str) -> str:
    """Without addresses; and one call fewer goes into a warm one's stack, for one is below it."""
    return re.sub(r"0x[0-9a-f]+", "0x", re.sub(r"repeated \d+ more", "repeated", stderr))


@pytest.mark.parametrize("script", ENDS.values(), ids=ENDS)
def test_a_warm_trial_ends_as_a_cold_one(bench: Bench, script: str) -> None:
    left = bench.folder / "left"
    kept = []
    bench.write(script)
    bench.template()
    for is_warm in (False, True):
        left.unlink(missing_ok=True)
        ended = bench.run(is_warm=is_warm)
        assert ended.is_warm is is_warm
        found = left.read_bytes() if left.exists() else None
        kept.append((ended.exit_code, ended.stdout, comparable(ended.stderr), found))
    assert kept[1] == kept[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_warm_trial_dies_of_a_signal_to_its_group(bench: Bench, number: signal.Signals) -> None:
    bench.write("import time\nprint('up', flush=True)\ntime.sleep(600)")
    bench.template()
    running = bench.start()
    while "up" not in bench.printed()[0]:
        assert running.wait(0.05) is None
    running.signal(number)
    assert running.wait(60) == -number
    assert bench.printed()[1].count("KeyboardInterrupt") == (number == signal.SIGINT)
