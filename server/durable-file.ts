import { randomUUID } from "node:crypto";
import { link, open, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { codeOf } from "./postgres/error-code.ts";

/**
 * Writes a small file of the data folder: after a power failure it has the old content or the new one, never a part.
 * Readable by our user alone.
 */
export async function writeDurably(file: string, text: string): Promise<void> {
  const temporary = await writeBeside(file, text);
  try {
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(path.dirname(file));
}

/** The same for a file that must not be replaced. Answers whether it was made; false when it exists already. */
export async function createDurably(file: string, text: string): Promise<boolean> {
  const temporary = await writeBeside(file, text);
  try {
    // Unlike a rename, a link fails where the name is taken.
    await link(temporary, file);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(path.dirname(file));
  return true;
}

/** The text of a file; undefined where there is none. @throws with the name of the file where it cannot be read */
export async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") return undefined;
    if (code !== "EISDIR") throw error;
    throw new Error(`${file} is a folder and should be a file. Move it away, or restore the file.`, {
      cause: error,
    });
  }
}

async function writeBeside(file: string, text: string): Promise<string> {
  const temporary = `${file}.${randomUUID()}.tmp`;
  const handle = await open(temporary, "wx", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  return temporary;
}

/** Without it, a file that was renamed can be missing after a power failure. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders, and journals renames by itself.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
