"""The committed build: what its source gives, small, named by its hash once released, and in the wheel."""

import gzip
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

from tests.widget.node import WIDGET, run

from otel_feedback._version import VERSION
from otel_feedback.capture.widget import STATIC

REPOSITORY = Path(__file__).parents[2]
LIMIT = 6 * 1024


def test_the_committed_file_is_what_its_source_gives(packages, tmp_path):
    """A fresh build has the same bytes (`make widget` brings it in step)."""
    run("node", "build.mjs", str(tmp_path))
    assert (tmp_path / "widget.js").read_bytes() == (STATIC / "widget.js").read_bytes(), "make widget"


def test_its_types_hold_and_its_own_tests_pass(packages):
    """TypeScript is strict, and what needs no browser is tested without one."""
    run("npm", "run", "--silent", "types")
    assert "# fail 0" in run("npm", "test", "--silent", "--", "--test-reporter=tap")


def test_it_is_small_and_needs_nobody():
    """At most 6 KiB gzipped, in one file that imports nothing."""
    content = (STATIC / "widget.js").read_bytes()
    assert len(gzip.compress(content, 9, mtime=0)) <= LIMIT
    assert not re.search(rb"\bimport\b(?!\.meta)|\beval\b|innerHTML|\bstyle=", content)


def test_the_npm_package_has_the_file_its_types_and_its_readme(packages, tmp_path):
    """It is what capture serves, under one version with the Python package, and nothing is run when it is installed."""
    (said,) = json.loads(run("npm", "pack", "--json", "--pack-destination", str(tmp_path)))
    names = {each["path"] for each in said["files"]}
    assert {"dist/widget.js", "dist/index.d.ts", "dist/element.d.ts", "README.md", "package.json"} <= names
    assert not any(name.startswith(("src", "test", "node_modules")) for name in names)
    assert (WIDGET / "dist/widget.js").read_bytes() == (STATIC / "widget.js").read_bytes()
    package = json.loads((WIDGET / "package.json").read_text())
    assert package["version"] == VERSION
    assert "dependencies" not in package
    assert not {"install", "postinstall"} & set(package["scripts"])


def test_the_types_are_of_use_to_a_page_that_is_strict(packages, tmp_path):
    """A page in TypeScript uses element, helpers and event, and is told what is wrong."""
    run("npx", "tsc", "--emitDeclarationOnly", "--outDir", str(tmp_path / "types"))
    page = """
    import { feedbackHandle, observeFetch, type FeedbackDetail } from "./types/index.js";
    const buttons = document.createElement("feedback-buttons");
    const handle: string | null = feedbackHandle(new Response());
    buttons.handle = handle;
    buttons.addEventListener("feedback", ({ detail }) => console.log((detail satisfies FeedbackDetail).outcome));
    const fetching: typeof fetch = observeFetch((found) => { buttons.handle = found; });
    buttons.texts = { thanks: "Cheers", too_long: "Too long" };
    const noticed: boolean = buttons.used("text") && buttons.accept();
    // @ts-expect-error a handle is no number
    buttons.handle = 1;
    export { fetching, noticed };
    """
    (tmp_path / "page.ts").write_text(page)
    options = [
        "--ignoreConfig",
        "--strict",
        "--noEmit",
        "--module",
        "es2022",
        "--moduleResolution",
        "bundler",
        "--target",
        "es2022",
    ]
    run("npx", "tsc", *options, "--lib", "es2022,dom", str(tmp_path / "page.ts"))


def test_the_lock_file_names_no_machine():
    """It can be used with any mirror of the registry."""
    lock = json.loads((WIDGET / "package-lock.json").read_text())
    assert all("resolved" not in each for each in lock["packages"].values())
    assert all("integrity" in each for name, each in lock["packages"].items() if name)


def test_every_released_build_stays(packages):
    """Each version that the changelog calls released has its file, whose name is its hash."""
    released = json.loads((STATIC / "released.json").read_text())
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (\d+\.\d+\.\d+)(?! \(not yet released\))", changelog, flags=re.MULTILINE)
    assert list(released) == versions[::-1], "make widget RELEASE=1 keeps a build for ever"
    hashes = {path.stem.removeprefix("widget-"): path for path in STATIC.glob("widget-*.js")}
    assert set(hashes) == set(released.values())
    for name, path in hashes.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(name)


def test_the_wheel_has_it(tmp_path):
    """Installing from source takes the committed files; nothing of Node is needed."""
    run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), cwd=REPOSITORY)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        for path in STATIC.iterdir():
            assert wheel.read(f"otel_feedback/capture/static/{path.name}") == path.read_bytes()
        assert not [name for name in wheel.namelist() if name.startswith("widget/") or "node_modules" in name]
