import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { readText } from "../durable-file.ts";
import { codeOf } from "../postgres/error-code.ts";
import { contentKey } from "../storage/object-store.ts";

/** The description of a backup. It is written last: a folder without it is not a backup. */
export const descriptionFile = "backup.json";
export const secretFile = "secret";
export const filesFolder = "files";
/** A line of JSON for each file of storage. */
export const fileListFile = "files.ndjson";

/** Below the folder of the backup, and nowhere else. */
const pathInBackup = z
  .string()
  .refine((text) => !/[\\\0]/.test(text) && text.split("/").every((part) => !/^\.{0,2}$/.test(part)));
const stored = z.object({ path: pathInBackup, bytes: z.int(), sha256: z.string() });
export type StoredFile = z.infer<typeof stored>;

export const descriptionSchema = z.object({
  format: z.literal(1),
  made_at: z.string(),
  darkroom: z.string(),
  /** Major version of the server that it was made of. */
  postgres: z.int(),
  platform_fingerprint: z.string(),
  /** SQL that makes the schema, in this order. */
  schema: z.array(stored),
  /** Statements for what the database has beyond the migrations. */
  additions: z.array(z.string()),
  /** Roles of the operator's that additions name. */
  roles: z.array(z.string()),
  tables: z.array(
    z.object({
      schema: z.string(),
      name: z.string(),
      columns: z.array(z.string()),
      rows: z.int(),
      data: stored,
    }),
  ),
  sequences: z.array(
    z.object({ schema: z.string(), name: z.string(), last_value: z.string(), is_called: z.boolean() }),
  ),
  secret: stored.nullable(),
  files: z.object({
    /** Files in S3 are not in the backup: the bucket is backed up by its own means. */
    kept_in: z.enum(["folder", "s3"]),
    count: z.int(),
    bytes: z.int(),
    list: stored.nullable(),
  }),
});
export type Description = z.infer<typeof descriptionSchema>;

const listedFile = z.object({ key: z.string(), bytes: z.int(), sha256: z.string() });
export type ListedFile = z.infer<typeof listedFile>;

/** A line of the list of files. @throws also where its key would lead out of the storage folder */
export function readListedFile(list: string, line: string): ListedFile {
  const read = listedFile.safeParse(parseJson(list, line));
  if (read.success && isContentKey(read.data.key)) return read.data;
  throw new Error(`${list} is damaged: this line names no file of storage: ${line.slice(0, 200)}`);
}

function isContentKey(key: string): boolean {
  const [bucket = "", , version = ""] = key.split("/");
  try {
    return contentKey(bucket, version) === key;
  } catch {
    return false;
  }
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} is damaged: it is no JSON.`, { cause: error });
  }
}

/** @throws when the folder is not a whole backup */
export async function readDescription(folder: string): Promise<Description> {
  const file = path.join(folder, descriptionFile);
  const text = await readText(file);
  if (text === undefined) throw new Error(`${folder} is not a backup: it has no ${descriptionFile}.`);
  const read = descriptionSchema.safeParse(parseJson(file, text));
  if (!read.success) {
    throw new Error(
      `${folder} is damaged, or a backup of another format than this version of Darkroom reads: ${file}`,
      {
        cause: read.error,
      },
    );
  }
  return read.data;
}

/** Passes bytes on and knows their number and digest at the end. */
export class Checksum extends Transform {
  #bytes = 0;
  readonly #hash = createHash("sha256");

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, chunk: Buffer) => void): void {
    this.#bytes += chunk.byteLength;
    this.#hash.update(chunk);
    done(null, chunk);
  }

  result(): { bytes: number; sha256: string } {
    return { bytes: this.#bytes, sha256: this.#hash.digest("hex") };
  }
}

/** @throws when a file is not as its backup says */
export function assertIntact(file: string, expected: Omit<StoredFile, "path">, checksum: Checksum): void {
  const { bytes, sha256 } = checksum.result();
  if (bytes === expected.bytes && sha256 === expected.sha256) return;
  throw new Error(`${file} is damaged: its checksum is not the one in the backup's description.`);
}

/** Writes a file that only we may read, to the disk and not only into its cache. */
export async function writePrivate(folder: string, file: string, text: string): Promise<StoredFile> {
  const target = path.join(folder, file);
  await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
  await writeFile(target, text, { mode: 0o600, flag: "wx", flush: true });
  const bytes = Buffer.from(text);
  return { path: file, bytes: bytes.byteLength, sha256: createHash("sha256").update(bytes).digest("hex") };
}

/** Reads a file of a backup whole. @throws when it is damaged */
export async function readIntact(folder: string, expected: StoredFile): Promise<string> {
  const file = path.join(folder, expected.path);
  const bytes = await readFile(file);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  if (bytes.byteLength !== expected.bytes || sha256 !== expected.sha256) {
    throw new Error(`${file} is damaged: its checksum is not the one in the backup's description.`);
  }
  return bytes.toString("utf8");
}

/** Copies a file and returns its checksum; undefined when the file does not exist. */
export async function copyFile(source: string, target: string): Promise<Checksum | undefined> {
  // Opened first, so that a file that is missing is not an empty copy.
  const handle = await open(source, "r").catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (!handle) return undefined;
  await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
  const checksum = new Checksum();
  await pipeline(handle.createReadStream(), checksum, createWriteStream(target, privately));
  return checksum;
}

export const privately = { mode: 0o600, flags: "wx", flush: true } as const;

export function readFrom(folder: string, file: string) {
  return createReadStream(path.join(folder, file));
}

export async function isEmptyOrMissing(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  });
  return names.length === 0;
}

/** Removes a folder in which nobody put anything. */
export async function removeIfEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch((error: unknown) => {
    if (!["ENOTEMPTY", "EEXIST", "ENOENT"].includes(codeOf(error) ?? "")) throw error;
  });
}

/** Makes names that were added to a folder survive a power failure. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders, and journals such changes by itself.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Works on what comes one after another, a few at once. */
export async function eachOf<Item>(
  items: AsyncIterable<Item>,
  atOnce: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  for await (const item of items) {
    const task = work(item)
      .catch((error: unknown) => void failures.push(error))
      .finally(() => running.delete(task));
    running.add(task);
    if (running.size >= atOnce) await Promise.race(running);
    if (failures.length > 0) break;
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
}
