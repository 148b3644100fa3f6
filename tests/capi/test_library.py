"""What libonsight.so shows of itself, and that programs build with it where it is installed."""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

HEADER = (ROOT / "include/onsight.h").read_text()
ANSWER = "Bread 2.45\nMilk 1.29\nCoffee 6.80\nTotal 10.54\n"


def output(*command, **more):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, **more).stdout


def test_the_symbols_are_those_of_the_header(library):
    declared = set(re.findall(r"ONSIGHT_API[^;]*?\b(onsight_\w+)\(", HEADER))
    assert len(declared) > 12
    lines = output("nm", "-D", "--defined-only", library).splitlines()
    assert {name.split("@")[0] for name in (line.split()[-1] for line in lines)} - {"ONSIGHT_0"} == declared


def test_it_is_linked_to_what_it_uses(library):
    needed = output("readelf", "-d", library)
    assert "libonsight.so.0" in needed and "libjpeg" in needed
    assert not re.search("lib(curl|ssl|edit)", needed)  # it connects to nothing


@pytest.mark.parametrize("compiler", [["cc", "-std=c99"], ["cc", "-std=c11"], ["c++", "-x", "c++", "-std=c++98"], ["c++", "-x", "c++", "-std=c++20"]])
def test_the_header_alone(compiler, tmp_path):
    (tmp_path / "it.c").write_text("#include <onsight.h>\n#include <onsight.h>\nonsight_error error;\n")
    flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-Wno-long-long", "-fsyntax-only", f"-I{ROOT}/include"]
    output(*compiler, *flags, tmp_path / "it.c")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """What `make install` installs, moved to another place."""
    first = tmp_path_factory.mktemp("install") / "first"
    output("cmake", "--install", BUILD, "--prefix", first)
    return first.rename(first.with_name("moved"))


@pytest.fixture
def environment(prefix):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ONSIGHT_")}
    return {**kept, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"), "CMAKE_PREFIX_PATH": str(prefix), "LD_LIBRARY_PATH": str(prefix / "lib")}


def built_with_pkg_config(folder, environment):
    flags = output("pkg-config", "--cflags", "--libs", "onsight", env=environment).split()
    output("cc", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", ROOT / "examples/c/ask.c", *flags, "-o", folder / "ask", env=environment)
    return folder / "ask"


def built_with_cmake(folder, environment):
    (folder / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.22)\nproject(user C)\nfind_package(onsight 0.1 REQUIRED)\n"
                                           f"add_executable(ask {ROOT}/examples/c/ask.c)\ntarget_link_libraries(ask PRIVATE onsight::onsight)\n")  # fmt: skip
    output("cmake", "-S", folder, "-B", folder / "build", env=environment)
    output("cmake", "--build", folder / "build", env=environment)
    return folder / "build/ask"


@pytest.mark.parametrize("built", [built_with_pkg_config, built_with_cmake])
def test_the_example_builds_where_it_is_installed(built, prefix, environment, tmp_path):
    program = built(tmp_path, environment)
    assert output("pkg-config", "--modversion", "onsight", env=environment).strip() in output(prefix / "bin/onsight", "--version")
    # Its own model, and not that of the source tree.
    shutil.copytree(prefix, tmp_path / "prefix", symlinks=True)
    environment["LD_LIBRARY_PATH"] = str(tmp_path / "prefix/lib")
    question = [program, ROOT / "examples/receipt.jpg", "Read the text."]
    assert output(*question, env=environment) == ANSWER
    shutil.rmtree(tmp_path / "prefix/share/onsight/models/onsight-nano")
    (tmp_path / "prefix/share/onsight/models/onsight-nano").mkdir()
    broken = subprocess.run(question, env=environment, capture_output=True, text=True)
    assert broken.returncode == 3 and f"{tmp_path}/prefix/share/onsight/models/onsight-nano" in broken.stderr
