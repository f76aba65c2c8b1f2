import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Logger } from "pino";
import { createDurably } from "../durable-file.ts";
import { codeOf } from "../postgres/error-code.ts";
import type { Catalogue, ContentPlace } from "./catalogue.ts";
import { contentKey, type ObjectStore } from "./object-store.ts";

/** Content that a row may name or not, until the database says which. */
export interface ContentInDoubt {
  /** Never fails: content that cannot be noted is kept, and logged. */
  add(contents: readonly ContentPlace[]): Promise<void>;
  /**
   * Inside a transaction that adds or drops content, before its commit: a process that is killed before it has settled the content
   * leaves notes of it. Without waiting for the disk, for a killed process loses nothing that it wrote. Never fails.
   */
  expect(contents: readonly ContentPlace[]): Promise<void>;
  /** A row names the content, or it is deleted: nothing is in doubt. Never fails. */
  settle(contents: readonly ContentPlace[]): Promise<void>;
  /** Asks about a bounded number, and deletes what certainly no row names. Never fails. */
  sweep(): Promise<void>;
}

export interface ContentInDoubtOptions {
  /** The notes are here, in a folder that no bucket can be named after, also when the content is elsewhere. */
  directory: string;
  catalogue: Pick<Catalogue, "statesOf">;
  store: Pick<ObjectStore, "remove">;
  log: Logger;
}

const mostAtOnce = 100;
/**
 * A row that names content may yet lose it: the transaction that drops it may outlive the connection to its client.
 * After this time it does not.
 */
const openTransactionMilliseconds = 60 * 60 * 1000;

/**
 * One empty file for each content in doubt, so that it outlives the process. Hosts that share the folder may sweep at
 * the same time; those that do not, have their own notes.
 */
export function createContentInDoubt({
  directory,
  catalogue,
  store,
  log,
}: ContentInDoubtOptions): ContentInDoubt {
  const folder = path.join(directory, ".in-doubt");
  /** The first note of the next sweep, so that those which stay open hold up no others. */
  let next = 0;

  async function add(contents: readonly ContentPlace[]): Promise<void> {
    for (const content of contents) {
      try {
        contentKey(content.bucket, content.version);
        await mkdir(folder, { recursive: true });
        await createDurably(path.join(folder, nameOf(content)), "");
      } catch (error) {
        log.error({ err: error, ...content }, "content in doubt was kept and could not be noted");
      }
    }
  }

  async function expect(contents: readonly ContentPlace[]): Promise<void> {
    for (const content of contents) {
      try {
        contentKey(content.bucket, content.version);
        const note = path.join(folder, nameOf(content));
        await writeFile(note, "", { flag: "a", mode: 0o600 }).catch(async (error: unknown) => {
          if (codeOf(error) !== "ENOENT") throw error;
          await mkdir(folder, { recursive: true });
          await writeFile(note, "", { flag: "a", mode: 0o600 });
        });
      } catch (error) {
        log.warn({ err: error, ...content }, "content could not be noted before its commit");
      }
    }
  }

  async function settle(contents: readonly ContentPlace[]): Promise<void> {
    for (const content of contents) {
      await rm(path.join(folder, nameOf(content)), { force: true }).catch((error: unknown) =>
        log.warn({ err: error, ...content }, "the note of content that is settled stays for the next sweep"),
      );
    }
  }

  async function sweepOnce(): Promise<void> {
    const notes = (await namesIn(folder)).sort();
    if (notes.length === 0) return;
    if (next >= notes.length) next = 0;
    const chosen = notes.slice(next, next + mostAtOnce).map(placeIn);
    next += mostAtOnce;
    const contents = chosen.filter((content) => content !== undefined);
    const states = await catalogue.statesOf(contents.map(({ version }) => version));
    for (const content of contents) {
      const note = path.join(folder, nameOf(content));
      const state = states.get(content.version);
      try {
        if (state === "unnamed") await store.remove(content.bucket, content.version);
        else if (state !== "named" || (await age(note)) < openTransactionMilliseconds) continue;
        await rm(note, { force: true });
      } catch (error) {
        log.warn({ err: error, ...content }, "content in doubt stays for the next time");
      }
    }
  }

  return {
    add,
    expect,
    settle,
    sweep: () =>
      sweepOnce().catch((error: unknown) => log.warn({ err: error }, "content in doubt was not looked at")),
  };
}

const versionLength = 36;

function nameOf({ bucket, version }: ContentPlace): string {
  return `${version}.${bucket}`;
}

/** Undefined for what is no note of ours, such as one that is being written. */
function placeIn(name: string): ContentPlace | undefined {
  const content = { version: name.slice(0, versionLength), bucket: name.slice(versionLength + 1) };
  if (nameOf(content) !== name || name.endsWith(".tmp")) return undefined;
  try {
    contentKey(content.bucket, content.version);
  } catch {
    return undefined; // Somebody else's file.
  }
  return content;
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  });
}

async function age(file: string): Promise<number> {
  return Date.now() - (await stat(file)).mtimeMs;
}
