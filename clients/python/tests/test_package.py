"""What pip installs."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile
from email.parser import Parser

ROOT = pathlib.Path(__file__).parents[3]


class Package(unittest.TestCase):
    def test_it_holds_the_types_and_has_the_version_of_the_other_client(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
            subprocess.run(build, cwd=ROOT / "clients/python", check=True, capture_output=True)
            (path,) = pathlib.Path(folder).iterdir()
            with zipfile.ZipFile(path) as wheel:
                names = {name for name in wheel.namelist() if ".dist-info/" not in name}
                information = Parser().parsestr(wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode())
            source = ROOT / "clients/python/src"
            self.assertEqual(names, {str(file.relative_to(source)) for file in source.rglob("*") if file.suffix in (".py", ".typed")})
            self.assertIn("websocket_hub/py.typed", names)
            other = json.loads((ROOT / "web/client/package.json").read_text())
            self.assertEqual((information["Name"], information["Version"]), ("websocket-hub-client", other["version"]))
            self.assertIn("connect(", str(information.get_payload()))
            program = "import websocket_hub; print(websocket_hub.__file__)"
            ran = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(path)}, capture_output=True, check=True, text=True)
            self.assertTrue(ran.stdout.startswith(str(path)))
