"""A study's server as a process of its own, which can be killed and started again at the same address."""

import re
import signal
import subprocess
import sys
import time

import httpx2

from aotlib.study.database import NAME, export


class Server:
    """`aotlib study serve` of the study in `folder`."""

    def __init__(self, folder, *options):
        self.folder, self.options, self.port = folder, options, 0
        self.start()

    def start(self):
        command = [sys.executable, "-m", "aotlib", "study", "serve", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.PIPE, text=True)
        try:
            self.read_addresses()
        except BaseException:
            self.kill()  # else it would outlive the tests
            raise

    def read_addresses(self):
        """What the server prints once it can be reached."""
        said = ""
        while "Ctrl-C" not in said:
            line = self.process.stdout.readline()
            assert line, f"the server ended: {said}"
            said += line
        self.address = re.search(r"raters +(http[^?\s]+)", said).group(1)
        self.key = re.search(r"key: (\S+)", said).group(1)
        self.port = int(self.address.rstrip("/").rsplit(":", 1)[1])
        self.wait()

    def wait(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                return httpx2.get(self.address + "page.css", timeout=5)
            except httpx2.TransportError:
                time.sleep(0.05)
        raise TimeoutError(f"{self.address} does not answer")

    def kill(self):
        """As the system does when memory runs out: without a word beforehand."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        return code

    def answers(self):
        return export(self.folder / NAME)
