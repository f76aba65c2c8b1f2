import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Why there can be no small disk here; undefined where there can. */
export function smallDiskIsImpossible(): string | undefined {
  return process.platform === "linux" && process.getuid?.() === 0
    ? undefined
    : "mounting a small disk takes root on Linux";
}

/** Runs a test with a folder on a file system of its own, of this size. */
export async function withSmallDisk(bytes: number, test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-small-disk-"));
  try {
    await run("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder]);
    try {
      await test(folder);
    } finally {
      await run("umount", [folder]);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
