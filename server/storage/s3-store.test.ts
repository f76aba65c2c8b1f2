import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import S3rver from "@20minutes/s3rver";
import { pino } from "pino";
import { StorageError } from "./errors.ts";
import { createS3Store, type S3Settings } from "./s3-store.ts";
import { contentOf, png, refusalOf, withStorage } from "./storage-under-test.ts";

const partBytes = 8 * 1024 * 1024;
const log = pino({ level: "silent" });

interface S3UnderTest {
  settings: S3Settings;
  /** The files of the objects that the server holds. */
  objects(): Promise<string[]>;
}

/** A server that speaks S3 and checks signatures, with an empty bucket. */
async function withS3(run: (s3: S3UnderTest) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), "darkroom-s3-"));
  const server = new S3rver({
    address: "127.0.0.1",
    port: 0,
    directory,
    silent: true,
    vhostBuckets: false,
    configureBuckets: [{ name: "files", configs: [] }],
  });
  const { port } = await server.run();
  const settings = {
    endpoint: `http://127.0.0.1:${port}/`,
    bucket: "files",
    region: "us-east-1",
    accessKeyId: "S3RVER",
    secretAccessKey: "S3RVER",
    sessionToken: undefined,
  };
  async function objects(): Promise<string[]> {
    const entries = await readdir(path.join(directory, "files"), { recursive: true, withFileTypes: true });
    return entries.map(({ name }) => name).filter((name) => name.endsWith("._S3rver_object"));
  }
  try {
    await run({ settings, objects });
  } finally {
    await server.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function* inChunks(bytes: Buffer, size = 100_000): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) {
    yield await Promise.resolve(bytes.subarray(start, start + size));
  }
}

test("S3 keeps content of any length and gives it back, whole and in ranges", () =>
  withS3(async ({ settings, objects }) => {
    const store = createS3Store(settings, log);
    await store.check();
    for (const size of [0, 1, 5, partBytes - 1, partBytes, partBytes + 1, 2 * partBytes, 3 * partBytes + 7]) {
      const bytes = randomBytes(size);
      const version = randomUUID();
      const stored = await store.put("image_uploads", version, inChunks(bytes));
      const hash = createHash("sha256").update(bytes).digest("hex");
      assert.deepEqual(stored, { size, eTag: `"${hash.slice(0, 32)}"` });

      const whole = await store.read("image_uploads", version, { start: 0, end: size - 1 });
      assert.ok(whole);
      assert.ok(Buffer.from(await new Response(whole).arrayBuffer()).equals(bytes), `${size} bytes`);
      if (size > 2) {
        const part = await store.read("image_uploads", version, { start: 1, end: size - 2 });
        assert.ok(part);
        assert.ok(Buffer.from(await new Response(part).arrayBuffer()).equals(bytes.subarray(1, -1)));
      }
      await store.remove("image_uploads", version);
      await store.remove("image_uploads", version);
      if (size > 0)
        assert.equal(await store.read("image_uploads", version, { start: 0, end: size - 1 }), undefined);
    }
    assert.deepEqual(await objects(), []);
  }));

async function* breakingOff(size: number): AsyncGenerator<Uint8Array> {
  yield* inChunks(randomBytes(size));
  throw new StorageError("Aborted");
}

test("an upload to S3 that breaks off leaves no object", () =>
  withS3(async ({ settings, objects }) => {
    const store = createS3Store(settings, log);
    for (const size of [1000, 3 * partBytes]) {
      const put = store.put("image_uploads", randomUUID(), breakingOff(size));
      await assert.rejects(put, { code: "Aborted" });
      assert.deepEqual(await objects(), []);
    }
  }));

// The server above cannot give up an upload in parts; this one only writes down what it is asked.
test("an upload in parts that breaks off, or cannot be put together, is given up, parts and all", async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${/\?.*/.exec(request.url ?? "")?.[0] ?? ""}`);
    request.resume();
    request.on("end", () => {
      response.setHeader("etag", '"part"');
      if (request.url?.endsWith("?uploads=")) response.end("<UploadId>up/load</UploadId>");
      else response.end(request.method === "POST" ? "<Error><Code>InternalError</Code></Error>" : "");
    });
  });
  const settings = {
    bucket: "files",
    region: "auto",
    accessKeyId: "a",
    secretAccessKey: "b",
    sessionToken: "c",
  };
  const endpoint = await listening(server);
  try {
    const store = createS3Store({ ...settings, endpoint }, log);
    const put = store.put("image_uploads", randomUUID(), breakingOff(2 * partBytes + 1));
    await assert.rejects(put, { code: "Aborted" });
    const begun = ["POST ?uploads=", "PUT ?partNumber=1&uploadId=up%2Fload"];
    assert.deepEqual(asked.splice(0).sort(), [...begun, "DELETE ", "DELETE ?uploadId=up%2Fload"].sort());

    const whole = store.put("image_uploads", randomUUID(), inChunks(randomBytes(partBytes + 1)));
    await assert.rejects(whole, (error: StorageError) => {
      assert.equal(error.code, "Unavailable");
      assert.match(String(error.cause), /did not put the parts together/);
      return true;
    });
    assert.deepEqual(
      asked.sort(),
      [
        ...begun,
        "PUT ?partNumber=2&uploadId=up%2Fload",
        "POST ?uploadId=up%2Fload",
        "DELETE ",
        "DELETE ?uploadId=up%2Fload",
      ].sort(),
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address && typeof address === "object");
  return `http://127.0.0.1:${address.port}`;
}

test("S3 that refuses our key is a failure; S3 that is away or overloaded is a reason to try again", () =>
  withS3(async ({ settings }) => {
    const wrong = createS3Store({ ...settings, secretAccessKey: "wrong" }, log);
    await assert.rejects(wrong.check(), /S3 answered 403 to GET: .*SignatureDoesNotMatch/s);
    await assert.rejects(
      wrong.put("image_uploads", randomUUID(), inChunks(randomBytes(5))),
      /S3 answered 403/,
    );
    await assert.rejects(createS3Store({ ...settings, bucket: "none" }, log).check(), /S3 answered 404/);

    let requests = 0;
    const overloaded = createServer((_request, response) => {
      requests++;
      response.writeHead(503).end("SlowDown");
    });
    const endpoint = await listening(overloaded);
    const busy = createS3Store({ ...settings, endpoint }, log);
    await assert.rejects(busy.check(), /Files cannot be kept at .*: S3 answered 503 to GET: SlowDown/);
    assert.equal(requests, 4);
    overloaded.closeAllConnections();
    await new Promise((resolve) => overloaded.close(resolve));
    await assert.rejects(busy.read("image_uploads", randomUUID(), { start: 0, end: 1 }), {
      code: "Unavailable",
    });
  }));

test("S3 without room, or with too many requests, is a reason to try again later", async () => {
  const answers: [number, string, string][] = [
    [507, "XMinioStorageFull", "StorageFull"],
    [403, "QuotaExceeded", "StorageFull"],
    [400, "XMinioAdminBucketQuotaExceeded", "StorageFull"],
    [503, "SlowDown", "Unavailable"],
    [429, "TooManyRequests", "Unavailable"],
    [400, "RequestLimitExceeded", "Unavailable"],
  ];
  let now = answers[0];
  const server = createServer((request, response) => {
    request.resume();
    const code = request.method === "PUT" ? now?.[1] : undefined;
    response.writeHead(code === undefined ? 204 : (now?.[0] ?? 500));
    response.end(code && `<Error><Code>${code}</Code><Message>full</Message></Error>`);
  });
  const endpoint = await listening(server);
  const keys = { accessKeyId: "a", secretAccessKey: "b", sessionToken: undefined };
  const store = createS3Store({ endpoint, bucket: "files", region: "auto", ...keys }, log);
  try {
    for (const answer of answers) {
      now = answer;
      const put = store.put("image_uploads", randomUUID(), inChunks(randomBytes(5)));
      await assert.rejects(put, { code: answer[2] }, answer[1]);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a bucket or a version that names another place in S3 is not followed", () =>
  withS3(async ({ settings }) => {
    const store = createS3Store(settings, log);
    await assert.rejects(store.read("..", randomUUID(), { start: 0, end: 1 }), /not a name for a folder/);
    await assert.rejects(store.read("image_uploads", "../../x", { start: 0, end: 1 }), /not a version id/);
  }));

test("storage on S3 serves uploads, ranges, copies and deletions, and keeps no refused file", () =>
  withS3(async ({ settings, objects }) => {
    await withStorage(async ({ service, url, serviceHeaders, context }) => {
      const bucket = service.storage.from("image_uploads");
      const picture = png(3, 2, partBytes + 100);
      assert.equal((await bucket.upload("a.png", picture)).error, null);
      const publicUrl = `${url}/object/public/image_uploads/a.png`;
      const whole = await fetch(publicUrl);
      assert.equal(whole.headers.get("content-type"), "image/png");
      assert.ok(Buffer.from(await whole.arrayBuffer()).equals(Buffer.from(picture)));
      const part = await fetch(publicUrl, { headers: { range: "bytes=-100" } });
      assert.deepEqual([part.status, (await part.arrayBuffer()).byteLength], [206, 100]);
      const head = await fetch(publicUrl, { method: "HEAD" });
      assert.equal(head.headers.get("content-length"), String(picture.length));

      assert.equal((await bucket.update("a.png", png(1, 1))).error, null);
      assert.equal((await bucket.copy("a.png", "b.png")).error, null);
      assert.equal((await bucket.move("b.png", "c.png", { destinationBucket: "temporary" })).error, null);
      const moved = await service.storage.from("temporary").download("c.png");
      assert.deepEqual(new Uint8Array(await contentOf(moved.data)), png(1, 1));
      assert.equal((await objects()).length, 2);

      const huge = await fetch(`${url}/object/image_uploads/huge.png`, {
        method: "POST",
        headers: serviceHeaders,
        body: png(40_000, 40_000, 2 * partBytes),
      });
      assert.equal((await refusalOf(huge)).error, "invalid_image");
      await bucket.remove(["a.png"]);
      await service.storage.from("temporary").remove(["c.png"]);
      assert.deepEqual(await objects(), []);
      // But for notes of content in doubt, of which nothing is left.
      assert.deepEqual(await readdir(context.storageDirectory, { recursive: true }), [".in-doubt"]);
    }, settings);
  }));
