"""asv's site, made by the docs' own commands: it has what was measured, and a browser draws it, point by point."""

import functools
import html
import http.server
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "tests" / "browser" / "node_modules"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
COMMITS = 3

# asv's page loads its libraries from elsewhere, by these names. Here they come from npm, since tests have no network.
LIBRARIES = {
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}

# Looks at what was drawn: for each point of each line of the main graph, whether pixels of the line's colour are there.
PROBE = """<script>
const draw = $.plot;
$.plot = Object.assign(function (where, series, options) {
  const plot = draw.call(this, where, series, options);
  if ($(where).attr("id") === "main-graph") setTimeout(() => report(plot), 500);
  return plot;
}, draw);
function report(plot) {
  const canvas = plot.getCanvas(), pen = canvas.getContext("2d"), ratio = canvas.width / $(canvas).width();
  const at = plot.getPlotOffset(), axes = plot.getAxes();
  const lines = plot.getData().map(line => {
    const [red, green, blue] = line.color.match(/\\d+/g).map(Number);
    return {label: line.label, points: line.data.filter(point => point[1] !== null).map(point => {
      const x = Math.round((at.left + axes.xaxis.p2c(point[0])) * ratio);
      const y = Math.round((at.top + axes.yaxis.p2c(point[1])) * ratio);
      const pixels = pen.getImageData(x - 5, y - 5, 11, 11).data;
      let inked = 0;
      for (let i = 0; i < pixels.length; i += 4) {
        const off = Math.abs(pixels[i] - red) + Math.abs(pixels[i + 1] - green) + Math.abs(pixels[i + 2] - blue);
        inked += pixels[i + 3] > 128 && off < 60;
      }
      return {value: point[1], inked: inked};
    })};
  });
  $("#probe").remove();
  $("<pre id=probe style='display: none'>").text(JSON.stringify(lines)).appendTo("body");
}
</script>
"""


@pytest.fixture(scope="module")
def browser():
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if not found:
        pytest.skip("no Chromium: apt-get install chromium")
    if not MODULES.is_dir():
        pytest.skip("no jQuery and flot: npm install --prefix tests/browser --no-package-lock")
    return found


def documented(*words):
    """The one command of the page that has all the words, without what it says after it."""
    page = (ROOT / "docs" / "performance.md").read_text()
    lines = [line.split(" #")[0].strip() for line in page.splitlines() if line.startswith("    asv ")]
    (line,) = [line for line in lines if set(words) <= set(line.split())]
    return line


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The published site, with the results of a small real run for each of a few commits, and the values in them."""
    if not importlib.util.find_spec("asv"):
        pytest.skip("no asv: pip install -e '.[bench]'")
    here = tmp_path_factory.mktemp("asv")
    tools = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ["PATH"]]
    )  # of this Python, in its shell's place
    environment = os.environ | {"HOME": str(here), "PATH": tools}  # asv describes the machine in a file in HOME

    def run(*command):
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    run("git", "init", "--quiet")
    conf = json.loads(re.sub(r"^\s*//.*$", "", (ROOT / "asv.conf.json").read_text(), flags=re.MULTILINE))
    conf |= {"benchmark_dir": str(ROOT / conf["benchmark_dir"])}
    (here / "asv.conf.json").write_text(json.dumps(conf))
    run("asv", "machine", "--yes")
    for number in range(COMMITS):
        run(*git, "commit", "--quiet", "--allow-empty", "-m", f"commit {number}")
        one = r"training\.Epoch\.time_epoch\(.tiny., .float32., .1.\)"
        run("bash", "-c", f"{documented('run', '--quick')} --bench '{one}'")
    run("bash", "-c", documented("publish"))
    measured = []
    for file in (here / conf["results_dir"]).glob("*/*-existing*.json"):
        values = json.loads(file.read_text())["results"]["training.Epoch.time_epoch"][0]
        measured += [value for value in values if math.isfinite(value)]  # NaN: not selected
    return here / conf["html_dir"], sorted(measured)


def test_the_quick_line_of_the_docs_fills_the_site(site):
    folder, measured = site
    assert len(measured) == COMMITS
    # One file for each machine and environment. Points are [revision, a value for each choice of parameters].
    (file,) = folder.glob("graphs/arch-*/**/training.Epoch.time_epoch.json")
    drawn = [value for _, of_parameters in json.loads(file.read_text()) for value in of_parameters if value is not None]
    assert sorted(drawn) == pytest.approx(measured)


def put_libraries(folder):
    """Make the page need nothing from the network, and look at itself."""
    page = (folder / "index.html").read_text()

    def local(tag):
        name = tag["url"].rsplit("/", 1)[1]
        shutil.copy(MODULES / LIBRARIES[name], folder / name)
        return f'<link rel="stylesheet" href="{name}">' if name.endswith(".css") else f'<script src="{name}"></script>'

    page = re.sub(r'<(script|link)[^>]*(src|href)="(?P<url>https://[^"]+)"[^>]*>(</script>)?', local, page)
    head, tail = page.split("</head>")
    (folder / "index.html").write_text(f"{head}{PROBE}</head>{tail}")


@pytest.fixture
def address(site):
    """The site, served."""
    put_libraries(site[0])

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site[0]))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def visit(browser, profile, url, *options):
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            "--window-size=1280,900", "--virtual-time-budget=15000", f"--user-data-dir={profile}", *options, url,
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_dashboard_draws_what_was_measured(browser, site, address, tmp_path):
    measured = site[1]
    choice = urllib.parse.urlencode({"p-network": "'tiny'", "p-dtype": "'float32'", "p-threads": "'1'"})
    url = f"{address}#training.Epoch.time_epoch?{choice}"
    dom = visit(browser, tmp_path / "profile", url, "--dump-dom")
    found = re.search(r'<pre id="probe"[^>]*>(.*?)</pre>', dom, re.DOTALL)
    assert found, f"no graph was drawn:\n{dom[-3000:]}"
    (line,) = json.loads(html.unescape(found[1]))  # one line: of two, one may be drawn over the other
    drawn = line["points"]
    # The page shows seconds as microseconds or milliseconds: the same numbers times one factor.
    values = sorted(point["value"] for point in drawn)
    assert [value / values[0] for value in values] == pytest.approx([value / measured[0] for value in measured])
    assert all(point["inked"] > 10 for point in drawn), line

    picture = Path(os.environ.get("DASHBOARD_PNG") or tmp_path / "dashboard.png")
    visit(browser, tmp_path / "profile", url, f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")
