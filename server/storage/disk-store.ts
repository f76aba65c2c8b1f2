import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { codeOf } from "../postgres/error-code.ts";
import { placeOfRemoved, removedFolder } from "./content-hold.ts";
import { type ByteRange, contentKey, type ObjectStore, type StoredContent } from "./object-store.ts";

const readBytes = 256 * 1024;
/** Uploads take minutes; what lies here for a day was left by a process that died. */
const abandonedAfterMilliseconds = 24 * 60 * 60 * 1000;

/**
 * Keeps content as files.
 * @param isHeld whether a backup runs, which may still need content that is deleted
 */
export function createDiskStore(directory: string, isHeld: () => Promise<boolean>): ObjectStore {
  // On the same file system as the buckets, so that moving a complete file there is atomic.
  const incoming = path.join(directory, ".incoming");

  async function put(bucket: string, version: string, content: AsyncIterable<Uint8Array>) {
    const target = placeOf(directory, bucket, version);
    const shard = path.dirname(target);
    await Promise.all([mkdir(incoming, { recursive: true }), mkdir(shard, { recursive: true })]);
    const temporary = path.join(incoming, randomUUID());
    try {
      const stored = await write(temporary, content);
      await rename(temporary, target);
      await syncFolder(shard);
      return stored;
    } catch (error) {
      // The file may have been moved before its folder could not be opened.
      await Promise.all([rm(temporary, { force: true }), rm(target, { force: true })]);
      throw error;
    }
  }

  async function read(bucket: string, version: string, { start, end }: ByteRange) {
    const handle = await open(placeOf(directory, bucket, version), "r").catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    });
    if (!handle) return undefined;
    let position = start;
    return new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          try {
            const wanted = Math.min(readBytes, end + 1 - position);
            const chunk = wanted > 0 ? Buffer.allocUnsafe(wanted) : undefined;
            const { bytesRead } = chunk ? await handle.read(chunk, 0, wanted, position) : { bytesRead: 0 };
            if (chunk && bytesRead === 0)
              throw new Error(`${bucket}/${version} is shorter than its row says`);
            position += bytesRead;
            if (chunk) controller.enqueue(chunk.subarray(0, bytesRead));
            if (position > end) {
              await handle.close();
              controller.close();
            }
          } catch (error) {
            await handle.close();
            throw error;
          }
        },
        cancel: () => handle.close(),
      },
      { highWaterMark: 1 },
    );
  }

  async function remove(bucket: string, version: string) {
    const place = placeOf(directory, bucket, version);
    // Where the database cannot say whether a backup runs, one may.
    if (!(await isHeld().catch(() => true))) return await rm(place, { force: true });
    const aside = placeOfRemoved(directory, contentKey(bucket, version));
    await mkdir(path.dirname(aside), { recursive: true });
    await rename(place, aside).catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") throw error;
    });
  }

  return { put, read, remove };
}

/** Whether anything is kept for a backup. */
export async function hasRemoved(directory: string): Promise<boolean> {
  return (await readdir(path.join(directory, removedFolder)).catch(nothingIfMissing)).length > 0;
}

/** Deletes what was kept for a backup. Call it while no backup runs. */
export async function deleteRemoved(directory: string): Promise<void> {
  await rm(path.join(directory, removedFolder), { recursive: true, force: true, maxRetries: 3 });
}

/** Deletes what uploads of dead processes left behind. */
export async function removeAbandoned(directory: string): Promise<number> {
  const incoming = path.join(directory, ".incoming");
  let removed = 0;
  for (const name of await readdir(incoming).catch(nothingIfMissing)) {
    const file = path.join(incoming, name);
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Infinity })); // Finished meanwhile.
    if (Date.now() - mtimeMs < abandonedAfterMilliseconds) continue;
    await rm(file, { force: true });
    removed++;
  }
  return removed;
}

function nothingIfMissing(error: unknown): string[] {
  if (codeOf(error) === "ENOENT") return [];
  throw error;
}

function placeOf(directory: string, bucket: string, version: string): string {
  return path.join(directory, contentKey(bucket, version));
}

async function write(file: string, content: AsyncIterable<Uint8Array>): Promise<StoredContent> {
  const handle = await open(file, "wx", 0o600);
  try {
    const hash = createHash("sha256");
    let size = 0;
    for await (const chunk of content) {
      hash.update(chunk);
      let written = 0;
      while (written < chunk.byteLength) {
        const { bytesWritten } = await handle.write(chunk, written, chunk.byteLength - written);
        written += bytesWritten;
      }
      size += chunk.byteLength;
    }
    await handle.sync();
    return { size, eTag: `"${hash.digest("hex").slice(0, 32)}"` };
  } finally {
    await handle.close();
  }
}

/** Without it, a file that was moved can be missing after a power failure although its row is there. */
async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders, and journals such moves by itself.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
