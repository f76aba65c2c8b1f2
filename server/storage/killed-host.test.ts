/** A host that is killed while a row is written or dropped leaves no content without a row. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { pino } from "pino";
import { type Catalogue, createCatalogue, serviceActor } from "./catalogue.ts";
import { createContentInDoubt } from "./content-in-doubt.ts";
import { createDiskStore } from "./disk-store.ts";
import type { ObjectStore } from "./object-store.ts";
import { png, type StorageUnderTest, withStorage } from "./storage-under-test.ts";

const bucket = "image_uploads";

/** Files of the store, notes of content in doubt not among them. */
async function contentsOf({ context }: StorageUnderTest): Promise<string[]> {
  const names = await readdir(path.join(context.storageDirectory, bucket), { recursive: true }).catch(
    () => [],
  );
  return names.map((name) => path.basename(name)).filter((name) => name.length === 36);
}

async function notesOf({ context }: StorageUnderTest): Promise<string[]> {
  return await readdir(path.join(context.storageDirectory, ".in-doubt")).catch(() => []);
}

/** The same storage as another process has it, which dies before the commit or behind it. */
function dying(
  { context, database }: StorageUnderTest,
  beforeCommit: boolean,
): { catalogue: Catalogue; store: ObjectStore } {
  const log = pino({ level: "silent" });
  const store = createDiskStore(context.storageDirectory, () => Promise.resolve(false));
  const catalogue = createCatalogue(database.sql, async (contents) => {
    await inDoubt.expect(contents);
    if (beforeCommit) throw new Error("killed");
  });
  const inDoubt = createContentInDoubt({ directory: context.storageDirectory, catalogue, store, log });
  return { catalogue, store };
}

async function* bytesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

const facts = { mimetype: "image/png", cacheControl: "no-cache", lastModified: "", httpStatusCode: 200 };

async function write({ catalogue, store }: ReturnType<typeof dying>, name: string): Promise<string> {
  const version = randomUUID();
  const stored = await store.put(bucket, version, bytesOf(png(2, 2)));
  const metadata = { ...stored, ...facts, contentLength: stored.size };
  await catalogue
    .write(
      serviceActor,
      { bucket, name, version, metadata, userMetadata: undefined, ownerId: undefined },
      { upsert: true },
    )
    .catch((error: unknown) => assert.match(String(error), /killed/));
  return version;
}

test("content of an upload that died before its commit is deleted; the file that it was to replace stays", () =>
  withStorage(async (storage) => {
    const { data } = await storage.service.storage.from(bucket).upload("a.png", png(1, 1));
    assert.ok(data);
    const before = await contentsOf(storage);
    const lost = await write(dying(storage, true), "a.png");
    assert.deepEqual((await contentsOf(storage)).sort(), [...before, lost].sort());
    await storage.sweep();
    assert.deepEqual(await contentsOf(storage), before);
    assert.equal((await storage.service.storage.from(bucket).download("a.png")).error, null);
  }));

test("content that a commit replaced is deleted where the host died behind it; the new content stays", () =>
  withStorage(async (storage) => {
    await storage.service.storage.from(bucket).upload("a.png", png(1, 1));
    const version = await write(dying(storage, false), "a.png");
    assert.equal((await contentsOf(storage)).length, 2);
    await storage.sweep();
    assert.deepEqual(await contentsOf(storage), [version]);
    const found = await storage.service.storage.from(bucket).download("a.png");
    assert.deepEqual(new Uint8Array((await found.data?.arrayBuffer()) ?? []), png(2, 2));
  }));

test("content of deleted files is deleted where the host died behind the commit, and kept where it died before", () =>
  withStorage(async (storage) => {
    const names = Array.from({ length: 20 }, (_, index) => `${index}.png`);
    for (const name of names) await storage.service.storage.from(bucket).upload(name, png(1, 1));
    await assert.rejects(dying(storage, true).catalogue.remove(serviceActor, bucket, names), /killed/);
    await storage.sweep();
    assert.equal((await contentsOf(storage)).length, 20);
    await dying(storage, false).catalogue.remove(serviceActor, bucket, names);
    assert.equal((await contentsOf(storage)).length, 20);
    await storage.sweep();
    assert.deepEqual(await contentsOf(storage), []);
  }));

test("uploads, replacements, copies, moves and deletions leave no note behind", () =>
  withStorage(async (storage) => {
    const files = storage.service.storage.from(bucket);
    await files.upload("a.png", png(1, 1));
    await files.upload("a.png", png(2, 2), { upsert: true });
    assert.equal((await files.copy("a.png", "b.png")).error, null);
    assert.equal((await files.move("a.png", "c.png")).error, null);
    assert.equal((await files.move("c.png", "d.png", { destinationBucket: "temporary" })).error, null);
    assert.equal((await files.remove(["b.png"])).error, null);
    assert.deepEqual(await notesOf(storage), []);
    assert.deepEqual(await contentsOf(storage), []);
  }));
