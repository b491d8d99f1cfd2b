"""Run a notebook in JupyterLab, in a real browser, and keep what it looks like in each theme.

    apt-get install chromium fonts-dejavu-core
    python -m pip install jupyterlab pillow trio-websocket -e '.[cli,plot]'
    python tools/screenshot_notebook.py docs/images      # writes seeing_light.png, seeing_dark.png
    python tools/screenshot_notebook.py out some.ipynb   # a notebook of yours: some_light.png, ...

A kernel runs the cells; the browser is driven by its own protocol over a websocket.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import PIL.Image
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
WIDTH, HEIGHT = 1000, 3000
PORT = 18_888

CELLS = (
    """\
from trio_bytesbuf import *

head = BytesView(b"POST /upload HTTP/1.1\\r\\nHost: example.org\\r\\n\\r\\n")
data = bytes(range(256)) * 400
body = BytesView.copied_from_slice(data, default_memory())
theirs = BytesView(bytearray(b"a bytearray that somebody may change"))
head + body[48:75] + body[96:128] + theirs + body[50_000:]""",
    """\
buf = BytesBuf.with_capacity(100_000)
buf.put_slice(b"a line that was taken out,\\nand one that was not\\n")
taken = buf.consume(27)
buf.put_view(head[-4:])
buf.put_slice(b"and more")
buf""",
    """\
reader = BytesReader(head + theirs)
reader.advance(70)
reader""",
    "default_memory()",
)


def notebook_of(cells: tuple[str, ...]) -> str:
    """Return a notebook with these cells, as a file has it."""
    described: list[dict[str, object]] = [
        {"cell_type": "code", "id": f"cell-{number}", "execution_count": None, "metadata": {},
         "outputs": [], "source": source}
        for number, source in enumerate(cells)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps(
        {"cells": described, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    )


@attrs.define(eq=False)
class Page:
    """A page of the browser."""

    connection: WebSocketConnection
    session: str = ""
    _numbers: itertools.count[int] = attrs.field(init=False, factory=itertools.count)

    async def do(self, method: str, **params: object) -> dict[str, object]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        await self.connection.send_message(json.dumps(message))
        while True:
            answer = json.loads(await self.connection.get_message())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, object] = answer["result"]
                return result

    async def value(self, script: str) -> object:
        """Return what a script comes to, awaited if it is a promise."""
        answer = await self.do(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {json.dumps(answer['exceptionDetails'])}")
        result = answer["result"]
        assert isinstance(result, dict)
        return result.get("value")

    async def until(self, script: str) -> None:
        """Wait until a script comes to something true."""
        promise = (
            f"new Promise(done => {{const look = () => ({script}) ? done(true) : "
            "setTimeout(look, 100); look()})"
        )
        await self.value(promise)


@asynccontextmanager
async def running(command: list[str], env: dict[str, str] | None = None) -> AsyncIterator[None]:
    """Run a program during the block, and end it."""
    run = partial(
        trio.run_process, check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(run, command)
        yield
        nursery.cancel_scope.cancel()


async def line_of(path: trio.Path, number: int) -> str:
    """Return a line of a file that somebody is about to write."""
    while True:
        lines = (await path.read_text()).splitlines() if await path.exists() else []
        if len(lines) > number:
            return lines[number]
        await trio.sleep(0.1)


@asynccontextmanager
async def browser(scratch: Path) -> AsyncIterator[Page]:
    """Open a page in a browser without a window."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    profile = scratch / "profile"
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--hide-scrollbars", "--remote-debugging-port=0",
        f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    async with running(command):
        told = trio.Path(profile / "DevToolsActivePort")
        url = f"ws://127.0.0.1:{await line_of(told, 0)}{await line_of(told, 1)}"
        async with open_websocket_url(url, max_message_size=2**26) as connection:
            root = Page(connection)
            target = (await root.do("Target.createTarget", url="about:blank"))["targetId"]
            attached = await root.do("Target.attachToTarget", targetId=target, flatten=True)
            root.session = str(attached["sessionId"])
            await root.do(
                "Emulation.setDeviceMetricsOverride",
                width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False,
            )  # fmt: skip
            yield root


@asynccontextmanager
async def jupyterlab(scratch: Path, theme: str) -> AsyncIterator[str]:
    """Serve the notebooks in `scratch` in that theme, and yield the address."""
    settings = scratch / theme / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": THEMES[theme]}))
    news = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(news))
    places = {
        name: str(scratch / theme / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    places |= {
        "JUPYTERLAB_SETTINGS_DIR": str(scratch / theme),
        "JUPYTERLAB_WORKSPACES_DIR": str(scratch / theme / "workspaces"),
    }
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={PORT}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--expose-app-in-browser",
        f"--ServerApp.root_dir={scratch}",
    ]  # fmt: skip
    async with running(command, {**os.environ, **places}):
        yield f"http://127.0.0.1:{PORT}"


NOTEBOOK = "document.querySelector('.jp-Notebook')"
PROMPTS = f"[...{NOTEBOOK}.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.innerText)"
CELLS_SHOWN = f"[...{NOTEBOOK}.querySelectorAll('.jp-Cell')]"
SELECTED = "'jp-mod-active', 'jp-mod-selected'"
KERNEL = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel"
COMMANDS = "window.jupyterapp.commands"


async def screenshot(scratch: Path, name: str, theme: str) -> bytes:
    """Run the notebook and return what it looks like then, as PNG."""
    async with jupyterlab(scratch, theme) as address, browser(scratch / theme) as page:
        await page.do("Page.enable")
        while True:  # until the server is there
            await page.do("Page.navigate", url=f"{address}/lab/tree/{name}?reset")
            with trio.move_on_after(5):
                await page.until("Boolean(window.jupyterapp)")
                break
        await page.until(f"Boolean({NOTEBOOK}) && {PROMPTS}.length > 0")
        await page.until(f"{KERNEL}?.status == 'idle'")  # without one, it would ask which
        await page.value(f"void {COMMANDS}.execute('application:toggle-left-area')")
        await page.value(f"void {COMMANDS}.execute('notebook:run-all-cells')")
        await page.until(f"{PROMPTS}.every(text => /[0-9]/.test(text))")
        await page.value(f"{CELLS_SHOWN}.forEach(cell => cell.classList.remove({SELECTED}))")
        await trio.sleep(1)  # pictures are drawn behind the prompts
        clip = await page.value(
            f"(() => {{const cells = {CELLS_SHOWN};"
            "const first = cells[0].getBoundingClientRect();"
            "const last = cells[cells.length - 1].getBoundingClientRect();"
            "return {x: first.x, y: first.y, width: first.width, height: last.bottom - first.y, "
            "scale: 1}})()"
        )
        shot = await page.do("Page.captureScreenshot", format="png", clip=clip)
        return base64.b64decode(str(shot["data"]))


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Pictures of a notebook in JupyterLab.")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("notebook", type=Path, nargs="?", help="one of ours if not given")
    options = parser.parse_args(arguments)
    name = options.notebook.stem if options.notebook else "seeing"
    text = options.notebook.read_text() if options.notebook else notebook_of(CELLS)
    for theme in THEMES:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            Path(folder, f"{name}.ipynb").write_text(text)
            shot = trio.run(screenshot, Path(folder), f"{name}.ipynb", theme)
        picture = options.folder / f"{name}_{theme}.png"
        # Few colours are enough, and a third of the bytes.
        PIL.Image.open(io.BytesIO(shot)).convert("RGB").quantize(128).save(picture, optimize=True)
        print(picture, picture.stat().st_size, "bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
