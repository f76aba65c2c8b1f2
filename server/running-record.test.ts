import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { createDurably, writeDurably } from "./durable-file.ts";
import { secretInFolder } from "./keys.ts";
import { RunningRecord } from "./running-record.ts";

test("remove() leaves a record that this host did not write, or that another has replaced", () =>
  inFolder(async (folder) => {
    const [first, second] = [new RunningRecord<string>(folder), new RunningRecord<string>(folder)];
    await first.write({ port: 1, status: "first" });
    await second.remove();
    assert.deepEqual(await second.read(), { pid: process.pid, port: 1, status: "first" });
    await second.write({ port: 2, status: "second" });
    await first.remove();
    assert.equal((await first.read())?.status, "second");
    await second.remove();
    assert.equal(await first.read(), undefined);
    await second.remove();
  }));

test("read() names a damaged record and says what to do", () =>
  inFolder(async (folder) => {
    await writeFile(path.join(folder, "running.json"), '{ "pid": ');
    await assert.rejects(
      new RunningRecord(folder).read(),
      new RegExp(`^Error: ${folder}/running.json is damaged. Delete it`),
    );
  }));

test("writeDurably() replaces a file as a whole, for our user alone, and leaves nothing beside it", () =>
  inFolder(async (folder) => {
    const file = path.join(folder, "file");
    await writeFile(file, "a longer text than the new one", { mode: 0o644 });
    const { ino } = await stat(file);
    await writeDurably(file, "new");
    assert.equal(await readFile(file, "utf8"), "new");
    const after = await stat(file);
    assert.equal(after.mode & 0o777, 0o600);
    // Written beside it and renamed: who reads meanwhile has the old file or the new one.
    assert.notEqual(after.ino, ino);
    assert.deepEqual(await readdir(folder), ["file"]);
  }));

test("createDurably() makes a file once, whoever is first", () =>
  inFolder(async (folder) => {
    const file = path.join(folder, "file");
    const made = await Promise.all(["a", "b", "c"].map((text) => createDurably(file, text)));
    assert.equal(made.filter((isMade) => isMade).length, 1);
    assert.equal(await readFile(file, "utf8"), ["a", "b", "c"][made.indexOf(true)]);
    assert.deepEqual(await readdir(folder), ["file"]);
  }));

test("secretInFolder() gives hosts that start at once the same secret, and names a damaged one", () =>
  inFolder(async (folder) => {
    const secrets = await Promise.all(Array.from({ length: 8 }, () => secretInFolder(folder)));
    assert.equal(new Set(secrets).size, 1);
    await writeFile(path.join(folder, "secret"), "");
    await assert.rejects(
      secretInFolder(folder),
      new RegExp(`${folder}/secret is damaged.*Restore it from a backup`),
    );
  }));

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-record-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
