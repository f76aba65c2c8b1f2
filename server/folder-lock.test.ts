import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { lockFolder } from "./folder-lock.ts";

test("lockFolder() refuses a folder that is locked, by any of its names, and names folder and process", () =>
  inFolder(async (folder) => {
    const lock = await lockFolder(path.join(folder, "data"));
    await assert.rejects(lockFolder(path.join(folder, "data")), (error: Error) => {
      assert.ok(error.message.includes(`${path.join(folder, "data")} is in use by process ${process.pid}.`));
      return true;
    });
    await symlink(path.join(folder, "data"), path.join(folder, "other-name"));
    await assert.rejects(lockFolder(path.join(folder, "other-name")), /is in use by process/);
    lock.release();
    (await lockFolder(path.join(folder, "other-name"))).release();
  }));

test("a lock ends with kill -9 of its process, whatever has its number afterwards", () =>
  inFolder(async (folder) => {
    const holder = await holdElsewhere(folder);
    await assert.rejects(lockFolder(folder), new RegExp(`in use by process ${holder.pid}\\.`));
    const exited = once(holder, "exit");
    holder.kill("SIGKILL");
    await exited;
    // As if the number of the killed process were that of a living one by now.
    await writeFile(path.join(folder, "lock"), JSON.stringify({ pid: process.ppid, hostname: "elsewhere" }));
    const lock = await lockFolder(folder);
    assert.equal(
      (JSON.parse(await readFile(path.join(folder, "lock"), "utf8")) as { pid: number }).pid,
      process.pid,
    );
    lock.release();
  }));

test("a program that the holder started does not keep the lock when the holder is killed", () =>
  inFolder(async (folder) => {
    const holder = await holdElsewhere(
      folder,
      "spawn('sleep', ['30'], { detached: true, stdio: 'ignore' }).pid",
    );
    const [sleeper] = (await once(holder.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
    try {
      const exited = once(holder, "exit");
      holder.kill("SIGKILL");
      await exited;
      (await lockFolder(folder)).release();
    } finally {
      process.kill(Number(sleeper.toString()), "SIGKILL");
    }
  }));

test("of many locks at once on a new folder one succeeds", () =>
  inFolder(async (folder) => {
    const tries = await Promise.allSettled(
      Array.from({ length: 20 }, () => lockFolder(path.join(folder, "new", "data"))),
    );
    const won = tries.filter((attempt) => attempt.status === "fulfilled");
    assert.equal(won.length, 1);
    for (const { value } of won) value.release();
  }));

/** Locks the folder in another process, which prints the value of an expression, if any. */
async function holdElsewhere(folder: string, expression?: string): Promise<ChildProcess> {
  const program = `
    import { spawn } from "node:child_process";
    import { lockFolder } from ${JSON.stringify(new URL("folder-lock.ts", import.meta.url).href)};
    await lockFolder(process.argv[1]);
    console.log("locked");
    ${expression ? `setTimeout(() => console.log(${expression}), 100);` : ""}
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-lock-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
