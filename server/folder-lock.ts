import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { codeOf } from "./postgres/error-code.ts";

export interface FolderLock {
  readonly directory: string;
  release(): void;
}

interface Owner {
  pid: number;
  hostname: string;
}

/** In the folder; it stays when the lock is released. */
export const lockFile = "lock";

/** Beyond the text: Windows lets no other process read bytes that are locked. */
const lockedByte = 4096;

/**
 * Takes a data folder for this process alone, or fails with the process that has it.
 *
 * The lock is the operating system's, on the file `lock` in the folder, so it ends with the process however that ends:
 * there are no stale locks, and the number of a dead process that another has now means nothing. The file stays; its
 * text is only for the message. Programs that we start do not inherit the lock.
 */
export async function lockFolder(directory: string): Promise<FolderLock> {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const file = path.join(directory, lockFile);
  const fd = openSync(file, "a+", 0o644);
  try {
    if (!(await tryLock(fd, directory))) {
      throw new Error(
        `The data folder ${directory} is in use by ${await ownerOf(file)}. ` +
          "Stop that Darkroom first, or choose another folder (--data).",
      );
    }
    const owner: Owner = { pid: process.pid, hostname: hostname() };
    ftruncateSync(fd);
    writeSync(fd, JSON.stringify(owner));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let isHeld = true;
  return {
    directory,
    release() {
      if (isHeld) closeSync(fd);
      isHeld = false;
    },
  };
}

async function tryLock(fd: number, directory: string): Promise<boolean> {
  try {
    // Loaded when it is needed: a host with a database of its own runs also where there is no binary of this package.
    const { tryLock: lock } = await import("fs-native-extensions");
    return lock(fd, lockedByte, 1);
  } catch (error) {
    const reason = codeOf(error) ?? (error instanceof Error ? error.message : String(error));
    throw new Error(
      `The data folder ${directory} cannot be locked (${reason}). ` +
        "Choose a folder on a local disk (--data), or set DATABASE_URL to a PostgreSQL of your own.",
      { cause: error },
    );
  }
}

/** The owner writes its name just after it has the lock. */
async function ownerOf(file: string): Promise<string> {
  for (let attempt = 0; attempt < 20; attempt++) {
    try {
      const { pid, hostname: machine } = JSON.parse(readFileSync(file, "utf8")) as Owner;
      return `process ${pid}${machine === hostname() ? "" : ` on ${machine}`}`;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      await pause(25);
    }
  }
  return "another process";
}
