/** Whatever becomes of the connection to the database: a file is as it was or as it was to be, and nothing is left over. */
import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, readdir, rm, utimes } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { type CutPlace, type CuttingProxy, cuttingProxy } from "../../test/support/cutting-proxy.ts";
import { createCatalogue, serviceActor } from "./catalogue.ts";
import { createContentInDoubt } from "./content-in-doubt.ts";
import { contentLock } from "./content-hold.ts";
import { contentKey } from "./object-store.ts";
import { png, type StorageUnderTest, withStorage } from "./storage-under-test.ts";

interface Scene extends StorageUnderTest {
  proxy: CuttingProxy;
}

async function withProxy(run: (scene: Scene) => Promise<void>): Promise<void> {
  let proxy: CuttingProxy | undefined;
  let pool: Pool | undefined;
  try {
    await withStorage(
      async (storage) => {
        assert.ok(proxy);
        await run({ ...storage, proxy });
      },
      undefined,
      undefined,
      async (url) => {
        proxy = await cuttingProxy(url);
        return (pool = openPool({ url: proxy.url, name: "storage-test", connections: 3 }));
      },
    );
  } finally {
    await pool?.end();
    await proxy?.close();
  }
}

const images = "image_uploads";
/** Bytes of files by place; undefined where there is none. */
type Files = Record<string, Buffer | undefined>;

interface Change {
  /** What is stored before. */
  before: Files;
  after: Files;
  request(scene: Scene): Promise<Response>;
}

function picture(): Buffer {
  return Buffer.concat([png(2, 2), randomBytes(200)]);
}

async function put({ url, serviceHeaders }: Scene, place: string, bytes: Buffer): Promise<Response> {
  const headers = { ...serviceHeaders, "content-type": "image/png" };
  return await fetch(`${url}/object/${place}`, { method: "PUT", headers, body: new Uint8Array(bytes) });
}

async function relocate(
  { url, serviceHeaders }: Scene,
  way: "copy" | "move",
  [from, to]: [string, string],
): Promise<Response> {
  const [bucketId, destinationBucket] = [from, to].map((place) => place.split("/")[0]);
  const [sourceKey, destinationKey] = [from, to].map((place) => place.slice(place.indexOf("/") + 1));
  return await fetch(`${url}/object/${way}`, {
    method: "POST",
    headers: { ...serviceHeaders, "content-type": "application/json", "x-upsert": "true" },
    body: JSON.stringify({ bucketId, sourceKey, destinationBucket, destinationKey }),
  });
}

const changes: Record<string, () => Change> = {
  "a new file": () => {
    const [place, bytes] = [`${images}/${randomUUID()}.png`, picture()];
    return {
      before: { [place]: undefined },
      after: { [place]: bytes },
      request: (scene) => put(scene, place, bytes),
    };
  },
  "a replaced file": () => {
    const [place, bytes] = [`${images}/${randomUUID()}.png`, picture()];
    return {
      before: { [place]: picture() },
      after: { [place]: bytes },
      request: (scene) => put(scene, place, bytes),
    };
  },
  "a file moved within its bucket": () => relocation("move", images),
  "a file moved to another bucket": () => relocation("move", "temporary"),
  "a copied file": () => relocation("copy", "temporary"),
  "a copy over a file": () => relocation("copy", images, picture()),
  "a deleted file": () => deletion((scene, place) => fileDeletion(scene, place)),
  "a file of a deleted list": () =>
    deletion(({ url, serviceHeaders }, place) =>
      fetch(`${url}/object/${images}`, {
        method: "DELETE",
        headers: { ...serviceHeaders, "content-type": "application/json" },
        body: JSON.stringify({ prefixes: [place.slice(images.length + 1)] }),
      }),
    ),
};

function fileDeletion({ url, serviceHeaders }: Scene, place: string): Promise<Response> {
  return fetch(`${url}/object/${place}`, { method: "DELETE", headers: serviceHeaders });
}

function relocation(way: "copy" | "move", bucket: string, replaced?: Buffer): Change {
  const [from, to] = [`${images}/${randomUUID()}.png`, `${bucket}/${randomUUID()}.png`];
  const bytes = picture();
  return {
    before: { [from]: bytes, [to]: replaced },
    after: { [from]: way === "copy" ? bytes : undefined, [to]: bytes },
    request: (scene) => relocate(scene, way, [from, to]),
  };
}

function deletion(request: (scene: Scene, place: string) => Promise<Response>): Change {
  const place = `${images}/${randomUUID()}.png`;
  return {
    before: { [place]: picture() },
    after: { [place]: undefined },
    request: (scene) => request(scene, place),
  };
}

async function isAs(scene: Scene, files: Files): Promise<boolean> {
  for (const [place, bytes] of Object.entries(files)) {
    const response = await fetch(`${scene.url}/object/${place}`, { headers: scene.serviceHeaders });
    const found = Buffer.from(await response.arrayBuffer());
    if (bytes ? response.status !== 200 || !found.equals(bytes) : response.status !== 400) return false;
  }
  return true;
}

/** The content that is stored, and that which rows name. */
async function contents({ context, database }: StorageUnderTest): Promise<[string[], string[]]> {
  const entries = await readdir(context.storageDirectory, { recursive: true, withFileTypes: true });
  const stored = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(context.storageDirectory, path.join(entry.parentPath, entry.name)))
    .filter((name) => !name.startsWith(".in-doubt"));
  const rows = await database.sql<{ bucket: string; version: string }[]>`
    select bucket_id as bucket, version from storage.objects`;
  const named = rows.map(({ bucket, version }) => contentKey(bucket, version));
  return [stored.sort(), named.sort()];
}

/** Breaks a change at each of its statements; answers how often, and how often it was done all the same. */
async function breakEverywhere(scene: Scene, make: () => Change, place: CutPlace, times: number) {
  let [cuts, unanswered] = [0, 0];
  for (let statement = 1; ; statement++) {
    const { before, after, request } = make();
    for (const [at, bytes] of Object.entries(before)) {
      if (bytes) assert.equal((await put(scene, at, bytes)).status, 200);
    }
    scene.proxy.cutAt(statement, place, times);
    const response = await request(scene);
    const hasCut = scene.proxy.disarm();
    const what = `statement ${statement}: ${response.status} ${await response.text()}`;
    const isDone = await isAs(scene, after);
    assert.ok(isDone || (await isAs(scene, before)), what);
    if (response.ok) assert.ok(isDone, what);
    else {
      assert.equal(response.status, 503, what);
      assert.ok(response.headers.get("retry-after"), what);
      if (isDone) unanswered++;
    }
    await scene.sweep();
    assert.ok(await isAs(scene, isDone ? after : before), `${what}, after a sweep`);
    if (!hasCut) return { cuts, unanswered };
    cuts++;
  }
}

for (const [name, make] of Object.entries(changes)) {
  test(`a connection cut anywhere leaves ${name} as it was or as it was to be, and nothing besides`, (context) =>
    withProxy(async (scene) => {
      for (const place of ["before", "after"] satisfies CutPlace[]) {
        for (const times of [1, 2]) {
          const { cuts, unanswered } = await breakEverywhere(scene, make, place, times);
          assert.ok(cuts >= 4, `${cuts} cuts`);
          // With the commit's answer lost, asking again settles it; when that is cut too, the answer is 503.
          assert.equal(unanswered, place === "after" && times === 2 ? 1 : 0, `${place}, ${times} cuts`);
          context.diagnostic(`${place}, ${times} in a row: at ${cuts} statements`);
        }
      }
      const [stored, named] = await contents(scene);
      assert.deepEqual(stored, named);
    }));
}

test("content in doubt outlives the process, stays while a transaction may name it, and goes into what a backup keeps", () =>
  withProxy(async (scene) => {
    const { context, database, proxy } = scene;
    const catalogue = createCatalogue(context.sql);
    const [place, bytes] = [`${images}/doubt.png`, picture()];
    assert.equal((await put(scene, place, bytes)).status, 200);
    const removed: string[] = [];
    const store = {
      remove: async (bucket: string, version: string) =>
        void removed.push(await Promise.resolve(`${bucket}/${version}`)),
    };
    const open = () =>
      createContentInDoubt({
        directory: context.storageDirectory,
        catalogue,
        store,
        log: pino({ level: "silent" }),
      });
    const [row] = await database.sql<{ version: string }[]>`select version from storage.objects`;
    assert.ok(row);
    const [open1, gone] = [randomUUID(), randomUUID()];
    const first = open();
    await first.add([open1, gone, row.version].map((version) => ({ bucket: images, version })));

    const second = open();
    const notes = path.join(context.storageDirectory, ".in-doubt");
    await database.sql.transaction(async (transaction) => {
      await transaction`select pg_advisory_xact_lock(hashtextextended(${open1}, 0))`;
      await second.sweep();
    });
    assert.deepEqual(removed, [`${images}/${gone}`]);
    await proxy.down();
    await second.sweep();
    await proxy.up();
    // Of an outage that took long, calls are told at once until the database is back.
    while (!(await context.sql`select 1`.catch(() => undefined))) await pause(20);
    assert.deepEqual(
      (await readdir(notes)).sort(),
      [`${open1}.${images}`, `${row.version}.${images}`].sort(),
    );
    await second.sweep();
    assert.deepEqual(removed, [`${images}/${gone}`, `${images}/${open1}`]);
    // A row that still names it after an hour is not about to lose it.
    const longAgo = new Date(Date.now() - 61 * 60 * 1000);
    await utimes(path.join(notes, `${row.version}.${images}`), longAgo, longAgo);
    await second.sweep();
    assert.deepEqual(await readdir(notes), []);
    assert.equal(removed.length, 2);

    // The storage's own sweep, while a backup runs.
    await mkdir(notes, { recursive: true });
    const dropped = await put(scene, `${images}/dropped.png`, picture());
    assert.equal(dropped.status, 200);
    const [kept] = await database.sql<{ version: string }[]>`
      select version from storage.objects where name = 'dropped.png'`;
    assert.ok(kept);
    await database.sql`delete from storage.objects where name = 'dropped.png'`;
    const third = open();
    await third.add([{ bucket: images, version: kept.version }]);
    const backup = await database.sql.reserve();
    try {
      await backup`select pg_advisory_lock(${contentLock})`;
      await scene.sweep();
      const [stored] = await contents(scene);
      assert.ok(stored.includes(`.removed/${contentKey(images, kept.version)}`), stored.join("\n"));
      await backup`select pg_advisory_unlock(${contentLock})`;
      await scene.sweep();
      const [left, named] = await contents(scene);
      assert.deepEqual(left, named);
    } finally {
      backup.release();
    }
  }));

test("a move that waits for a replacement of the same name loses no content", () =>
  withProxy(async (scene) => {
    const { context, database } = scene;
    const catalogue = createCatalogue(context.sql);
    const bytes = picture();
    assert.equal((await put(scene, `${images}/from.png`, bytes)).status, 200);
    const row = await catalogue.find(serviceActor, images, "from.png");
    assert.ok(row?.version);
    const target = { bucket: images, name: "to.png", version: row.version };
    let moving: Promise<unknown> = Promise.resolve();
    await database.sql.transaction(async (transaction) => {
      // As a writer of that name holds it, which by then knows what it replaces.
      await transaction`select pg_advisory_xact_lock(hashtextextended(${`${images}/from.png`}, 0))`;
      moving = catalogue.move(serviceActor, row, target);
      await database.lockIsWaitedFor();
      await transaction`update storage.objects set version = ${randomUUID()} where name = 'from.png'`;
    });
    assert.equal(await moving, undefined);
  }));

test("a row whose content is missing is said to be missing: NoSuchKey, logged as an error", () =>
  withStorage(async ({ context, url, serviceHeaders, database }) => {
    const lines: unknown[] = [];
    const { log } = context;
    log.error = ((_fields: object, message: string) => void lines.push(message)) as typeof log.error;
    const headers = { ...serviceHeaders, "content-type": "image/png" };
    const body = new Uint8Array(picture());
    assert.equal(
      (await fetch(`${url}/object/${images}/lost.png`, { method: "PUT", headers, body })).status,
      200,
    );
    const [row] = await database.sql<{ version: string }[]>`select version from storage.objects`;
    assert.ok(row);
    await rm(path.join(context.storageDirectory, contentKey(images, row.version)));
    for (const [way, status] of [
      ["", 400],
      ["public/", 404],
    ]) {
      const response = await fetch(`${url}/object/${way}${images}/lost.png`, { headers: serviceHeaders });
      assert.equal(response.status, status);
      assert.equal(((await response.json()) as { code: string }).code, "NoSuchKey");
    }
    assert.deepEqual(lines, Array(2).fill("the content of an object is missing"));
  }));
