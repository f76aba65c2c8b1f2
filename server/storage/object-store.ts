import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { codeOf } from "../postgres/error-code.ts";

export interface StoredContent {
  size: number;
  eTag: string;
}

/** First and last byte, both included. */
export interface ByteRange {
  start: number;
  end: number;
}

/** Keeps bytes under opaque ids. It knows no names, owners or rights: those are rows in storage.objects. */
export interface ObjectStore {
  /** Streams content to the end and keeps it; if the content fails on the way, nothing is kept. */
  put(bucket: string, version: string, content: AsyncIterable<Uint8Array>): Promise<StoredContent>;
  /** Undefined when there is no such content (any more). */
  read(bucket: string, version: string, range: ByteRange): Promise<ReadableStream<Uint8Array> | undefined>;
  /** Removing what is not there is no error. */
  remove(bucket: string, version: string): Promise<void>;
}

const readBytes = 256 * 1024;
/** Uploads take minutes; what lies here for a day was left by a process that died. */
const abandonedAfterMilliseconds = 24 * 60 * 60 * 1000;

export function createDiskStore(directory: string): ObjectStore {
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
      await rm(temporary, { force: true });
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

  return {
    put,
    read,
    remove: (bucket, version) => rm(placeOf(directory, bucket, version), { force: true }),
  };
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

/** Buckets and versions come out of the database, where others can write: neither may lead out of the folder. */
function placeOf(directory: string, bucket: string, version: string): string {
  if (!/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$/.test(bucket))
    throw new Error(`not a name for a folder: ${bucket}`);
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(version)) throw new Error("not a version id");
  return path.join(directory, bucket, version.slice(0, 2), version);
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
