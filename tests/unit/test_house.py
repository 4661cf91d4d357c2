"""Which folder may import what, where a linter of whole packages cannot tell."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWNERS = {
    "azure.storage": ("shared/dropsweep/storage/", "local/", "bench/", "tests/"),
    "azure.core": ("shared/dropsweep/storage/", "local/", "tests/"),
    "azure.identity": ("shared/dropsweep/storage/", "local/"),
    "azure.functions": ("functions/", "function_app.py", "local/", "tests/"),
    "fastapi": ("shared/dropsweep/api/", "tests/"),
    "starlette": ("shared/dropsweep/api/", "tests/"),
    "torch": ("examples/", "bench/peers/", "tests/"),
    "yaml": ("shared/dropsweep/spec/", "shared/dropsweep/client/", "bench/", "tests/"),
}
FOLDERS = ("shared", "functions", "trainer_image", "local", "bench", "examples", "tests")


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("package", OWNERS)
def test_a_package_is_imported_only_where_it_belongs(package: str) -> None:
    files = [ROOT / "function_app.py", *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
    users = {
        file.relative_to(ROOT).as_posix()
        for file in files
        if any(name == package or name.startswith(f"{package}.") for name in imports(file))
    }
    assert users, f"nothing imports {package}: take it out of the table"
    assert {user for user in users if not user.startswith(OWNERS[package])} == set()
