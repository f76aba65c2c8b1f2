import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { readdir } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import path from "node:path";
import { test } from "node:test";
import { SignJWT } from "jose";
import { type DatabaseUnderTest, withDatabase } from "../../test/support/database.ts";
import { contentOf, png, refusalOf, type StorageUnderTest, withStorage } from "./storage-under-test.ts";

async function filesOf({ context }: StorageUnderTest): Promise<{ all: string[]; stray: string[] }> {
  const entries = await readdir(context.storageDirectory, { recursive: true, withFileTypes: true });
  const all = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(context.storageDirectory, path.join(entry.parentPath, entry.name)));
  const content = /^[\w-]+[/\\][0-9a-f]{2}[/\\][0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
  return { all, stray: all.filter((file) => !content.test(file)) };
}

async function chunkedUpload(url: string, headers: Record<string, string>, chunk: Buffer, count: number) {
  return await new Promise<{ status: number; body: string; sent: number }>((resolve, reject) => {
    let sent = 0;
    let answered = false;
    const outgoing = httpRequest(url, { method: "POST", headers }, (response) => {
      answered = true;
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString(), sent }),
      );
    });
    // Once it has answered, a server may close on whoever goes on sending.
    outgoing.on("error", (error) => (answered ? undefined : reject(error)));
    const send = (): unknown => {
      if (answered || sent === count) return outgoing.end();
      sent++;
      return outgoing.write(chunk, send);
    };
    send();
  });
}

async function taskWithStatus(database: DatabaseUnderTest, status: string): Promise<string> {
  const session = await database.session();
  // Only its id and its status count here: what belongs to a whole task is not made.
  await session.query("set session_replication_role = replica");
  const id = randomUUID();
  await session.query(
    `insert into public.tasks (id, project_id, user_id, task_type, params, status, lane_id, run_type, request_hash,
                               in_cloud, price_id, billed, upper_bound_microusd, lease_expires_at, is_orchestrator)
     values ($1, gen_random_uuid(), gen_random_uuid(), 'any', '{}', $2::text::public.task_status, 0, 'gpu', '', false, 0, '{}', 0,
             case when $2::text = 'In Progress' then now() end, true)`,
    [id, status],
  );
  await session.close();
  return id;
}

async function finishTask(database: DatabaseUnderTest, id: string): Promise<void> {
  const session = await database.session();
  await session.query("set session_replication_role = replica");
  await session.query(
    `update public.tasks set status = 'Complete', generation_processed_at = now(), lease_expires_at = null where id = $1`,
    [id],
  );
  await session.close();
}

test("storage keeps what the service uploads and serves it to anybody from a public bucket", () =>
  withStorage(async ({ service, url }) => {
    const picture = png(640, 480, 1000);
    const name = `${randomUUID()}/uploads/été 1.png`;
    const { data, error } = await service.storage
      .from("image_uploads")
      .upload(name, picture, { contentType: "image/png", metadata: { seed: 7 } });
    assert.equal(error, null);
    assert.equal(data?.fullPath, `image_uploads/${name}`);

    const { publicUrl } = service.storage.from("image_uploads").getPublicUrl(name).data;
    assert.ok(publicUrl.startsWith(`${url}/object/public/`));
    const response = await fetch(publicUrl);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "image/png");
    assert.equal(response.headers.get("content-length"), "1033");
    assert.equal(response.headers.get("cache-control"), "max-age=3600");
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    assert.equal(response.headers.get("content-disposition"), null);
    assert.deepEqual(new Uint8Array(await response.arrayBuffer()), picture);

    const info = await service.storage.from("image_uploads").info(name);
    assert.equal(info.data?.size, 1033);
    assert.equal(info.data?.contentType, "image/png");
    assert.deepEqual(info.data?.metadata, { seed: 7 });
    assert.equal((await service.storage.from("image_uploads").exists(name)).data, true);
    assert.equal((await service.storage.from("image_uploads").exists("nothing/there.png")).data, false);

    const saved = await fetch(`${publicUrl}?download=`);
    assert.match(saved.headers.get("content-disposition") ?? "", /^attachment; .*%C3%A9t%C3%A9%201\.png$/);
    await saved.body?.cancel();
  }));

test("storage reads images' sizes from their headers and remembers them", () =>
  withStorage(async ({ service, database }) => {
    await service.storage.from("image_uploads").upload("sizes/a.png", png(640, 480));
    const [row] = await database.sql<
      { metadata: Record<string, unknown>; version: string }[]
    >`select metadata, version from storage.objects where name = 'sizes/a.png'`;
    const { width, height, mimetype, size, contentLength, httpStatusCode } = row?.metadata ?? {};
    assert.deepEqual(
      { width, height, mimetype, size, contentLength, httpStatusCode },
      { width: 640, height: 480, mimetype: "image/png", size: 33, contentLength: 33, httpStatusCode: 200 },
    );
  }));

test("storage takes forms as browsers send them, with their fields", () =>
  withStorage(async ({ service }) => {
    const bytes = Buffer.alloc(300_000, "\r\n--almost a boundary");
    const content = new Blob([png(3, 4), bytes], { type: "image/png" });
    const options = { cacheControl: "60", metadata: { from: "a form" } };
    const { error } = await service.storage.from("image_uploads").upload("form/a.png", content, options);
    assert.equal(error, null);
    const { data } = await service.storage.from("image_uploads").download("form/a.png");
    assert.deepEqual(await contentOf(data), Buffer.concat([png(3, 4), bytes]));
    const info = await service.storage.from("image_uploads").info("form/a.png");
    assert.equal(info.data?.cacheControl, "max-age=60");
    assert.deepEqual(info.data?.metadata, { from: "a form" });
  }));

test("storage refuses a form without a file, and one that breaks off", () =>
  withStorage(async (storage) => {
    const { url, serviceHeaders } = storage;
    const form = new FormData();
    form.append("cacheControl", "60");
    const without = await fetch(`${url}/object/image_uploads/form/b.png`, {
      method: "POST",
      headers: serviceHeaders,
      body: form,
    });
    assert.equal((await refusalOf(without)).statusCode, "400");
    const broken = await fetch(`${url}/object/image_uploads/form/b.png`, {
      method: "POST",
      headers: { ...serviceHeaders, "content-type": "multipart/form-data; boundary=x" },
      body: '--x\r\nContent-Disposition: form-data; name=""; filename="a"\r\n\r\nhalf a file',
    });
    assert.equal((await refusalOf(broken)).statusCode, "400");
    assert.deepEqual((await filesOf(storage)).all, []);
  }));

test("storage replaces an object only when asked to, and deletes what it replaced", () =>
  withStorage(async (storage) => {
    const bucket = storage.service.storage.from("image_uploads");
    await bucket.upload("again/a.png", png(1, 1));
    const second = await bucket.upload("again/a.png", png(2, 2));
    assert.equal(second.error?.message, "The resource already exists");
    assert.equal((second.error as { statusCode?: string } | null)?.statusCode, "409");

    const raw = await fetch(`${storage.url}/object/image_uploads/again/a.png`, {
      method: "POST",
      headers: storage.serviceHeaders,
      body: png(2, 2),
    });
    assert.deepEqual(await refusalOf(raw), { status: 400, statusCode: "409", error: "Duplicate" });

    assert.equal((await bucket.upload("again/a.png", png(3, 3), { upsert: true })).error, null);
    assert.equal((await bucket.update("again/a.png", png(4, 4))).error, null);
    const { data } = await bucket.download("again/a.png");
    assert.deepEqual(new Uint8Array(await contentOf(data)), png(4, 4));
    assert.equal((await filesOf(storage)).all.length, 1);
  }));

test("storage keeps one of many uploads to one name, whole, and no other file", () =>
  withStorage(async (storage) => {
    const bucket = storage.service.storage.from("image_uploads");
    const sizes = Array.from({ length: 12 }, (_, index) => index + 1);
    const results = await Promise.all(
      sizes.map((size) => bucket.upload("race/a.png", png(size, size, size * 10_000), { upsert: true })),
    );
    assert.ok(results.every(({ error }) => error === null));
    const { data } = await bucket.download("race/a.png");
    const bytes = await contentOf(data);
    assert.equal(bytes.length, 33 + bytes.readUInt32BE(16) * 10_000);
    assert.equal((await filesOf(storage)).all.length, 1);
  }));

test("a signed upload URL takes a PUT without credentials, and a second one", () =>
  withStorage(async ({ url, context, service, serviceHeaders }) => {
    const name = `${randomUUID()}/tasks/${randomUUID()}/out put.png`;
    const signed = await fetch(`${url}/object/upload/sign/image_uploads/${name}`, {
      method: "POST",
      headers: { ...serviceHeaders, "x-upsert": "true" },
      body: "{}",
    });
    const { url: relative } = (await signed.json()) as { url: string };
    assert.match(relative, /^\/object\/upload\/sign\/image_uploads\//);
    for (const picture of [png(1, 1), png(2, 2)]) {
      const put = await fetch(`${url}${relative}`, {
        method: "PUT",
        headers: { "content-type": "image/png" },
        body: picture,
      });
      assert.equal(put.status, 200);
      assert.equal(((await put.json()) as { Key: string }).Key, `image_uploads/${name}`);
      const back = await fetch(`${context.apiUrl}/storage/v1/object/image_uploads/${name}`, {
        headers: serviceHeaders,
      });
      assert.deepEqual(new Uint8Array(await back.arrayBuffer()), picture);
    }

    const bucket = service.storage.from("image_uploads");
    const single = (await bucket.createSignedUploadUrl("once/a.png")).data;
    assert.ok(single);
    assert.equal((await bucket.uploadToSignedUrl("once/a.png", single.token, png(1, 1))).error, null);
    const repeated = await bucket.uploadToSignedUrl("once/a.png", single.token, png(1, 1));
    assert.equal(repeated.error?.message, "The resource already exists");
  }));

test("a signed URL is good for its object, its purpose and its time alone", () =>
  withStorage(async ({ url, context, service, tokenOf }) => {
    const bucket = service.storage.from("image_uploads");
    await bucket.upload("signed/a.png", png(1, 1));
    await bucket.upload("signed/b.png", png(1, 1));
    const upload = (await bucket.createSignedUploadUrl("signed/c.png")).data?.token ?? "";
    const downloadUrl = new URL((await bucket.createSignedUrl("signed/a.png", 60)).data?.signedUrl ?? "");
    const reading = downloadUrl.searchParams.get("token") ?? "";
    const sign = (audience: string, expires: number, secret = context.keys.jwtSecret) =>
      new SignJWT({ url: "image_uploads/signed/c.png", upsert: true, role: "service_role" })
        .setProtectedHeader({ alg: "HS256" })
        .setAudience(audience)
        .setExpirationTime(Math.floor(Date.now() / 1000) + expires)
        .sign(new TextEncoder().encode(secret));
    const put = (name: string, token: string) =>
      fetch(`${url}/object/upload/sign/image_uploads/${name}?token=${token}`, {
        method: "PUT",
        body: png(1, 1),
      });
    const get = (name: string, token: string) =>
      fetch(`${url}/object/sign/image_uploads/${name}?token=${token}`);

    const refused = [
      await put("signed/d.png", upload),
      await put("signed/c.png", ""),
      await put("signed/c.png", reading),
      await put("signed/c.png", context.keys.serviceRoleKey),
      await put("signed/c.png", await tokenOf(randomUUID())),
      await put("signed/c.png", await sign("storage:upload", -10)),
      await put("signed/c.png", await sign("authenticated", 60)),
      await put("signed/c.png", await sign("storage:upload", 60, "another secret, as long as the first")),
      await get("signed/b.png", reading),
      await get("signed/c.png", upload),
      await get("signed/a.png", `${reading}x`),
      await fetch(`${url}/object/sign/lora_files/signed/a.png?token=${reading}`),
    ];
    for (const response of refused) assert.equal((await refusalOf(response)).statusCode, "400");
    assert.equal((await bucket.exists("signed/c.png")).data, false);

    // Nor does what opens one object open the house.
    for (const token of [upload, reading]) {
      const headers = { authorization: `Bearer ${token}` };
      const list = await fetch(`${url}/object/list/image_uploads`, {
        method: "POST",
        headers,
        body: '{"prefix":""}',
      });
      assert.deepEqual(await refusalOf(list), { status: 400, statusCode: "403", error: "Unauthorized" });
    }
    assert.equal((await get("signed/a.png", reading)).status, 200);
    assert.equal((await put("signed/c.png", upload)).status, 200);
  }));

test("files of a finished task stay as they are, even for an upload that began before the end", () =>
  withStorage(async (storage) => {
    const { database, service, url } = storage;
    const bucket = service.storage.from("image_uploads");
    const task = await taskWithStatus(database, "In Progress");
    const name = `${randomUUID()}/tasks/${task}/out.png`;
    const { data } = await bucket.createSignedUploadUrl(name, { upsert: true });
    assert.ok(data);
    const put = (body: BodyInit, init: object = {}) =>
      fetch(data.signedUrl, { method: "PUT", body, ...init });
    assert.equal((await put(png(1, 1))).status, 200);

    const rest = new EventEmitter();
    const slowBody = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(png(2, 2));
        await once(rest, "send");
        controller.close();
      },
    });
    const late = put(slowBody, { duplex: "half" });
    while ((await filesOf(storage)).stray.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await finishTask(database, task);
    rest.emit("send");
    assert.deepEqual(await refusalOf(await late), { status: 400, statusCode: "409", error: "Conflict" });
    assert.equal((await refusalOf(await put(png(3, 3)))).statusCode, "409");

    const back = await fetch(`${url}/object/image_uploads/${name}`, { headers: storage.serviceHeaders });
    assert.deepEqual(new Uint8Array(await back.arrayBuffer()), png(1, 1));
    assert.deepEqual((await filesOf(storage)).stray, []);
    assert.equal((await filesOf(storage)).all.length, 1);
  }));

test("keep_finished_files() closes the folders of finished tasks, to everybody, and no other", () =>
  withDatabase(async (database) => {
    const write = (name: string, bucket = "image_uploads") =>
      database.sql`
        insert into storage.objects (bucket_id, name) values (${bucket}, ${name})
        on conflict (bucket_id, name) do update set version = gen_random_uuid()::text`.then(
        () => "written",
        (error: { constraint?: string }) => error.constraint,
      );
    const user = randomUUID();
    for (const [status, expected] of [
      ["Queued", "written"],
      ["In Progress", "written"],
      ["Failed", "keep_finished_files"],
      ["Cancelled", "keep_finished_files"],
    ] as const) {
      const task = await taskWithStatus(database, status);
      assert.equal(await write(`${user}/tasks/${task}/a.png`), expected, status);
      assert.equal(await write(`${user}/tasks/${task.toUpperCase()}/thumbnails/a.png`), expected, status);
      assert.equal(await write(`${user}/uploads/${task}/a.png`), "written");
      assert.equal(await write(`${user}/tasks/${task}/a.png`, "training-data"), "written");
    }
    for (const name of [`${user}/tasks/${randomUUID()}/a.png`, `${user}/tasks/nothing/a.png`, "a.png"]) {
      assert.equal(await write(name), "written", name);
    }

    // What was there before the end can be deleted, and neither replaced nor added to under another name.
    const task = await taskWithStatus(database, "In Progress");
    const file = `${user}/tasks/${task}/a.png`;
    assert.equal(await write(file), "written");
    await finishTask(database, task);
    assert.equal(await write(file), "keep_finished_files");
    await assert.rejects(
      database.sql`update storage.objects set name = ${`${user}/tasks/${task}/b.png`} where name = 'a.png'`,
      { constraint: "keep_finished_files" },
    );
    assert.equal(
      (await database.sql`delete from storage.objects where name = ${file} returning 1`).length,
      1,
    );
  }));

test("the service's own uploads, copies and moves into a finished task's folder are refused", () =>
  withStorage(async (storage) => {
    const bucket = storage.service.storage.from("image_uploads");
    const task = await taskWithStatus(storage.database, "Failed");
    const name = `${randomUUID()}/tasks/${task}/out.png`;
    await bucket.upload("a.png", png(1, 1));
    for (const { error } of [
      await bucket.upload(name, png(1, 1), { upsert: true }),
      await bucket.copy("a.png", name),
      await bucket.move("a.png", name),
    ]) {
      assert.equal((error as { statusCode?: string } | null)?.statusCode, "409");
    }
    assert.equal((await filesOf(storage)).all.length, 1);
  }));

test("an object is copied with its content, and with its facts", () =>
  withStorage(async (storage) => {
    const { service, as } = storage;
    const bucket = service.storage.from("image_uploads");
    await bucket.upload("a.png", png(3, 2), { cacheControl: "60", metadata: { by: "test" } });
    assert.equal((await bucket.copy("a.png", "copies/b.png")).data?.path, "image_uploads/copies/b.png");
    assert.equal((await bucket.copy("a.png", "copies/b.png")).error?.message, "The resource already exists");
    assert.equal((await bucket.copy("none.png", "c.png")).error?.message, "Object not found");
    assert.equal((await bucket.copy("a.png", "../c.png")).error?.message, "Invalid key");
    assert.equal((await bucket.copy("a.png", "p.png", { destinationBucket: "temporary" })).error, null);

    await bucket.update("a.png", png(1, 1));
    const copied = await bucket.info("copies/b.png");
    assert.equal(copied.data?.contentType, "image/png");
    assert.deepEqual(copied.data?.metadata, { by: "test" });
    assert.deepEqual(
      new Uint8Array(await contentOf((await bucket.download("copies/b.png")).data)),
      png(3, 2),
    );
    const elsewhere = await service.storage.from("temporary").download("p.png");
    assert.deepEqual(new Uint8Array(await contentOf(elsewhere.data)), png(3, 2));
    assert.equal((await filesOf(storage)).all.length, 3);

    const alice = randomUUID();
    const own = (await as(alice)).storage.from("image_uploads");
    await own.upload(`${alice}/a.png`, png(1, 1));
    assert.equal((await own.copy(`${alice}/a.png`, `${alice}/b.png`)).error, null);
    assert.equal((await own.copy("copies/b.png", `${alice}/c.png`)).error?.message, "Object not found");
    const denied = await own.copy(`${alice}/a.png`, `${randomUUID()}/a.png`);
    assert.match(denied.error?.message ?? "", /row-level security/);
    assert.match(
      (await own.copy(`${alice}/a.png`, `${alice}/tasks/a/a.png`)).error?.message ?? "",
      /row-level security/,
    );
  }));

test("an object moves to another name and another bucket, and is nowhere else", () =>
  withStorage(async (storage) => {
    const { service, as } = storage;
    const bucket = service.storage.from("image_uploads");
    await bucket.upload("a.png", png(3, 2));
    await bucket.upload("taken.png", png(1, 1));
    assert.equal((await bucket.move("a.png", "taken.png")).error?.message, "The resource already exists");
    assert.equal((await bucket.move("a.png", "moved/a.png")).error, null);
    assert.equal((await bucket.exists("a.png")).data, false);
    assert.deepEqual(new Uint8Array(await contentOf((await bucket.download("moved/a.png")).data)), png(3, 2));
    assert.equal((await bucket.move("moved/a.png", "a.png", { destinationBucket: "temporary" })).error, null);
    const elsewhere = await service.storage.from("temporary").download("a.png");
    assert.deepEqual(new Uint8Array(await contentOf(elsewhere.data)), png(3, 2));
    assert.equal((await bucket.exists("moved/a.png")).data, false);
    assert.equal((await filesOf(storage)).all.length, 2);

    const alice = randomUUID();
    const own = (await as(alice)).storage.from("image_uploads");
    await own.upload(`${alice}/a.png`, png(1, 1));
    assert.equal((await own.move(`${alice}/a.png`, `${alice}/b.png`)).error, null);
    assert.match(
      (await own.move(`${alice}/b.png`, `${randomUUID()}/a.png`)).error?.message ?? "",
      /row-level security/,
    );
    assert.equal((await own.move("taken.png", `${alice}/c.png`)).error?.message, "Object not found");
  }));

test("a user reaches the files under their own id and nobody else's", () =>
  withStorage(async ({ as, service, url, context, tokenOf }) => {
    const [alice, bob] = [randomUUID(), randomUUID()];
    const [asAlice, asBob] = [await as(alice), await as(bob)];
    for (const bucket of ["image_uploads", "training-data", "lora_files"]) {
      const own = `${alice}/uploads/a.png`;
      assert.equal((await asAlice.storage.from(bucket).upload(own, png(1, 1))).error, null);
      assert.equal((await asAlice.storage.from(bucket).upload(own, png(2, 2), { upsert: true })).error, null);
      assert.equal((await asAlice.storage.from(bucket).download(own)).error, null);
      assert.equal((await asAlice.storage.from(bucket).list(`${alice}/uploads`)).data?.length, 1);

      const foreign = asBob.storage.from(bucket);
      assert.equal(
        (await foreign.upload(own, png(3, 3), { upsert: true })).error?.message,
        "new row violates row-level security policy",
      );
      assert.ok((await foreign.upload(`${alice}/uploads/b.png`, png(3, 3))).error);
      assert.equal((await foreign.download(own)).error?.message, "Object not found");
      assert.ok((await foreign.createSignedUrl(own, 60)).error);
      assert.ok((await foreign.createSignedUploadUrl(own, { upsert: true })).error);
      assert.deepEqual((await foreign.remove([own])).data, []);
      assert.deepEqual((await foreign.list(`${alice}/uploads`)).data, []);
      assert.equal((await foreign.exists(own)).data, false);
      const anonymous = await fetch(`${url}/object/authenticated/${bucket}/${own}`);
      assert.deepEqual(await refusalOf(anonymous), { status: 400, statusCode: "404", error: "not_found" });

      const { data } = await service.storage.from(bucket).download(own);
      assert.deepEqual(new Uint8Array(await contentOf(data)), png(2, 2));
      assert.equal((await asAlice.storage.from(bucket).remove([own])).data?.length, 1);
    }
    const byKeyAlone = await fetch(`${url}/object/image_uploads/${alice}/a.png`, {
      method: "POST",
      headers: { apikey: context.keys.anonKey },
      body: png(1, 1),
    });
    assert.equal((await refusalOf(byKeyAlone)).statusCode, "403");
    const wrong = await fetch(`${url}/object/image_uploads/${alice}/a.png`, {
      method: "POST",
      headers: { authorization: `Bearer ${await tokenOf(alice, -60)}` },
      body: png(1, 1),
    });
    assert.equal((await refusalOf(wrong)).statusCode, "403");
  }));

test("a user's own uploads do not go among the outputs of tasks", () =>
  withStorage(async ({ as, service, database }) => {
    const alice = randomUUID();
    const bucket = (await as(alice)).storage.from("image_uploads");
    const name = `${alice}/tasks/${randomUUID()}/a.png`;
    assert.ok((await bucket.upload(name, png(1, 1))).error);
    assert.ok((await bucket.createSignedUploadUrl(name)).error);
    await service.storage.from("image_uploads").upload(name, png(1, 1));
    assert.ok((await bucket.upload(name, png(2, 2), { upsert: true })).error);
    // What no run has delivered is not the owner's yet.
    assert.ok((await bucket.download(name)).error);
    assert.equal((await bucket.remove([name])).data?.length, 0);
    await database.sql`update output_files set delivered_at = now(), check_at = null where path = ${name}`;
    assert.equal((await bucket.download(name)).error, null);
    assert.equal((await bucket.remove([name])).data?.length, 1);
  }));

test("what a private bucket holds is not public, and looks like a bucket that is not there", () =>
  withStorage(async ({ service, url }) => {
    await service.storage.from("training-data").upload("secret/a.png", png(1, 1));
    const hidden = await fetch(`${url}/object/public/training-data/secret/a.png`);
    const absent = await fetch(`${url}/object/public/no-bucket/secret/a.png`);
    assert.equal(hidden.status, 404);
    assert.equal(await hidden.text(), await absent.text());
    const missing = await fetch(`${url}/object/public/image_uploads/secret/a.png`);
    assert.deepEqual(await refusalOf(missing), { status: 404, statusCode: "404", error: "not_found" });
    const signed = await service.storage.from("training-data").createSignedUrl("secret/a.png", 60);
    const response = await fetch(signed.data?.signedUrl ?? "");
    assert.equal(response.headers.get("cache-control"), "private, max-age=3600");
    assert.deepEqual(new Uint8Array(await response.arrayBuffer()), png(1, 1));
  }));

test("signing many downloads says of each whether it can be read", () =>
  withStorage(async ({ service }) => {
    const bucket = service.storage.from("training-data");
    await bucket.upload("many/a+b & ü.png", png(1, 1));
    const { data } = await bucket.createSignedUrls(["many/a+b & ü.png", "many/none.png", "../x"], 60);
    assert.deepEqual(
      data?.map(({ error }) => error === null),
      [true, false, false],
    );
    assert.equal((await fetch(data?.[0]?.signedUrl ?? "")).status, 200);
    assert.ok((await bucket.createSignedUrl("many/a+b & ü.png", 0)).error);
  }));

test("downloads can be had in parts, and not twice for nothing", () =>
  withStorage(async ({ service, url }) => {
    const bytes = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251));
    await service.storage
      .from("image_uploads")
      .upload("range/a.bin", bytes, { contentType: "application/zip" });
    const address = `${url}/object/public/image_uploads/range/a.bin`;
    for (const [range, start, end] of [
      ["bytes=0-99", 0, 99],
      ["bytes=990-", 990, 999],
      ["bytes=-10", 990, 999],
      ["bytes=500-5000", 500, 999],
      ["bytes=-5000", 0, 999],
    ] as const) {
      const part = await fetch(address, { headers: { range } });
      assert.equal(part.status, 206, range);
      assert.equal(part.headers.get("content-range"), `bytes ${start}-${end}/1000`);
      assert.equal(part.headers.get("content-length"), String(end - start + 1));
      assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(start, end + 1));
    }
    for (const range of ["bytes=1000-", "bytes=-0"]) {
      const beyond = await fetch(address, { headers: { range } });
      assert.equal(beyond.status, 416);
      assert.equal(beyond.headers.get("content-range"), "bytes */1000");
    }
    for (const range of ["bytes=5-1", "bytes=a-b", "bytes=0-1,5-6", "lines=1-2"]) {
      const whole = await fetch(address, { headers: { range } });
      assert.equal(whole.status, 200, range);
      assert.equal((await whole.arrayBuffer()).byteLength, 1000);
    }

    const head = await fetch(address, { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.equal(head.headers.get("content-length"), "1000");
    const eTag = head.headers.get("etag") ?? "";
    assert.match(eTag, /^"[0-9a-f]{32}"$/);
    const known = await fetch(address, { headers: { "if-none-match": `"x", W/${eTag}` } });
    assert.equal(known.status, 304);
    const changed = await fetch(address, { headers: { range: "bytes=0-1", "if-range": '"other"' } });
    assert.equal(changed.status, 200);
    assert.equal((await changed.arrayBuffer()).byteLength, 1000);
    assert.equal((await fetch(`${address}x`, { method: "HEAD" })).status, 404);

    await service.storage.from("image_uploads").upload("range/empty.bin", Buffer.alloc(0));
    const empty = await fetch(`${url}/object/public/image_uploads/range/empty.bin`);
    assert.equal(empty.status, 200);
    assert.equal((await empty.arrayBuffer()).byteLength, 0);
  }));

test("no name leads out of the folder, whatever it is made of", () =>
  withStorage(async (storage) => {
    const { url, serviceHeaders, database } = storage;
    const refused = [
      "a/%2e%2e%2fb.png",
      "..%2f..%2fb.png",
      "a%2f..%2f..%2fb.png",
      "a/%2e%2e%5cb.png",
      "a%5c..%5cb.png",
      "a/b%00.png",
      "a/b%0a.png",
      "a/b%7f.png",
      "a//b.png",
      "a/b.png/",
      "a/.%2fb.png",
      "a/...%2fb.png",
      "a/%20/b.png",
      "a/%ef%bc%8e%ef%bc%8e/b.png", // Full-width dots
      "a/%e2%80%a4%e2%80%a4/b.png", // Dot leaders
      "a/b%ef%bc%8fc.png", // Full-width slash
      "a/%e2%80%aegnp.exe", // Right-to-left override
      "a/e%cc%81.png", // Not composed
      "a/%ff.png",
      "a/%zz.png",
      "a/%ed%a0%80.png", // Half of a surrogate pair
      `a/${"x".repeat(1024)}.png`,
    ];
    for (const name of refused) {
      const response = await fetch(`${url}/object/image_uploads/${name}`, {
        method: "POST",
        headers: { ...serviceHeaders, "x-upsert": "true" },
        body: png(1, 1),
      });
      assert.deepEqual(
        await refusalOf(response),
        { status: 400, statusCode: "400", error: "InvalidKey" },
        name,
      );
      const sign = await fetch(`${url}/object/upload/sign/image_uploads/${name}`, {
        method: "POST",
        headers: serviceHeaders,
      });
      assert.equal((await refusalOf(sign)).status, 400, name);
    }

    // Without a client that tidies paths up before it sends them.
    for (const name of [
      "../../../../etc/passwd",
      "a/../../b.png",
      "%2e%2e/%2e%2e/b.png",
      "a/./../../../b.png",
    ]) {
      for (const method of ["GET", "POST", "DELETE"]) {
        const status = await new Promise<number>((resolve, reject) => {
          const { port } = new URL(url);
          const outgoing = httpRequest(
            {
              port,
              host: "127.0.0.1",
              path: `/storage/v1/object/image_uploads/${name}`,
              method,
              headers: serviceHeaders,
            },
            (response) => response.resume().on("end", () => resolve(response.statusCode ?? 0)),
          );
          outgoing.on("error", reject).end();
        });
        assert.ok(status >= 400 && status < 500, `${method} ${name}: ${status}`);
      }
    }
    const [count] = await database.sql`select count(*)::int as objects from storage.objects`;
    assert.equal(count?.["objects"], 0);

    const taken = [
      "300/" + "long".repeat(75),
      "a/%2500.png",
      "a/b%252e%252e.png",
      "a/%F0%9F%98%80.png",
      "a/..b/c..png",
    ];
    for (const name of taken) {
      const response = await fetch(`${url}/object/image_uploads/${name}`, {
        method: "POST",
        headers: serviceHeaders,
        body: png(1, 1),
      });
      assert.equal(response.status, 200, name);
      assert.equal((await fetch(`${url}/object/public/image_uploads/${name}`)).status, 200, name);
    }
    const { all, stray } = await filesOf(storage);
    assert.equal(all.length, taken.length);
    assert.deepEqual(stray, []);
  }));

test("a version or a bucket that names a place on disk is not followed", () =>
  withStorage(async ({ database, url, serviceHeaders }) => {
    await database.sql`insert into storage.buckets (id, name, public) values ('..', '..', true)`;
    await database.sql`
      insert into storage.objects (bucket_id, name, version, metadata)
      values ('image_uploads', 'a/a.png', '../../../etc/hostname', '{"size": 5, "mimetype": "image/png"}'),
             ('image_uploads', 'a/b.png', null, '{"size": 5}'), ('image_uploads', 'a/c.png', null, null)`;
    assert.equal((await fetch(`${url}/object/public/image_uploads/a/a.png`)).status, 500);
    assert.equal((await fetch(`${url}/object/public/image_uploads/a/b.png`)).status, 404);
    assert.equal((await fetch(`${url}/object/public/image_uploads/a/c.png`)).status, 404);
    const body = png(1, 1);
    const up = await fetch(`${url}/object/%2e%2e/a.png`, { method: "POST", headers: serviceHeaders, body });
    assert.ok(up.status >= 400);
  }));

test("storage stops at a bucket's size limit, whether the length is announced or not", () =>
  withStorage(async (storage) => {
    const { database, url, serviceHeaders, service } = storage;
    await database.sql`update storage.buckets set file_size_limit = 100000 where id = 'image_uploads'`;
    const address = `${url}/object/image_uploads/big/a.bin`;
    const announced = await fetch(address, {
      method: "POST",
      headers: serviceHeaders,
      body: Buffer.alloc(100_001),
    });
    assert.deepEqual(await refusalOf(announced), {
      status: 413,
      statusCode: "413",
      error: "Payload too large",
    });

    const streamed = await chunkedUpload(address, serviceHeaders, Buffer.alloc(50_000), 2000);
    assert.equal(streamed.status, 413);
    assert.match(streamed.body, /"statusCode":"413"/);

    const form = await service.storage
      .from("image_uploads")
      .upload("big/a.bin", new Blob([Buffer.alloc(200_000)]));
    assert.equal((form.error as { statusCode?: string } | null)?.statusCode, "413");
    assert.deepEqual((await filesOf(storage)).all, []);
    const exact = await fetch(address, {
      method: "POST",
      headers: serviceHeaders,
      body: Buffer.alloc(100_000),
    });
    assert.equal(exact.status, 200);
  }));

test("an upload that breaks off leaves nothing behind", () =>
  withStorage(async (storage) => {
    const { url, serviceHeaders, service } = storage;
    const headers = { ...serviceHeaders, "content-length": "1000000" };
    const outgoing = httpRequest(`${url}/object/image_uploads/broken/a.bin`, { method: "POST", headers });
    outgoing.on("error", () => undefined); // We break it off ourselves.
    outgoing.write(Buffer.alloc(100_000));
    while ((await filesOf(storage).catch(() => ({ stray: [] }))).stray.length === 0)
      await new Promise((resolve) => setImmediate(resolve));
    outgoing.destroy();
    while ((await filesOf(storage)).all.length > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal((await service.storage.from("image_uploads").exists("broken/a.bin")).data, false);
  }));

test("pages and scriptable pictures are never served as such, whatever they call themselves", () =>
  withStorage(async ({ url, serviceHeaders, service, database }) => {
    const html = "<!doctype html><script>alert(1)</script>";
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><script>alert(1)</script></svg>';
    for (const [name, type, content] of [
      ["page.png", "image/png", html],
      ["page.html", "text/html", html],
      ["picture.svg", "image/svg+xml", svg],
      ["picture.jpg", "image/jpeg", svg],
      ["page.xml", "application/xhtml+xml", html],
      ["cut.png", "image/png", "\x89PNG\r\n\x1a\n"],
    ] as const) {
      const address = `image_uploads/shown/${name}`;
      const headers = { ...serviceHeaders, "content-type": type };
      const up = await fetch(`${url}/object/${address}`, {
        method: "POST",
        headers,
        body: Buffer.from(content, "latin1"),
      });
      assert.equal(up.status, 200, name);
      const down = await fetch(`${url}/object/public/${address}`);
      assert.equal(down.headers.get("content-type"), "application/octet-stream", name);
      assert.match(down.headers.get("content-disposition") ?? "", /^attachment;/);
      assert.equal(down.headers.get("x-content-type-options"), "nosniff");
      await down.body?.cancel();
    }
    // A row that claims otherwise, as an import might have left it, is not believed either.
    await database.sql`
      update storage.objects set metadata = metadata || '{"mimetype": "text/html"}' where name = 'shown/page.html'`;
    const signed = await service.storage.from("image_uploads").createSignedUrl("shown/page.html", 60);
    const down = await fetch(signed.data?.signedUrl ?? "");
    assert.equal(down.headers.get("content-type"), "application/octet-stream");
    await down.body?.cancel();
  }));

test("the type of an object is what its bytes are", () =>
  withStorage(async ({ url, serviceHeaders }) => {
    const cases: [string, string, Buffer][] = [
      ["image/gif", "text/html", Buffer.from("GIF89a\x01\0\x01\0\0\0\0", "latin1")],
      ["video/mp4", "", Buffer.from("\0\0\0\x18ftypisom\0\0\0\0isommp42", "latin1")],
      ["video/quicktime", "video/mp4", Buffer.from("\0\0\0\x14ftypqt  \0\0\0\0qt  ", "latin1")],
      [
        "video/webm",
        "image/png",
        Buffer.from("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "latin1"),
      ],
      [
        "image/webp",
        "",
        Buffer.from("RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11", "latin1"),
      ],
      [
        "image/jpeg",
        "",
        Buffer.from("\xff\xd8\xff\xe0\0\x04\0\0\xff\xc0\0\x0b\x08\0\x10\0\x20\x01\x01\x11\0\0\0", "latin1"),
      ],
      ["application/json", "application/json", Buffer.from("{}")],
      ["text/plain", "text/plain;charset=UTF-8", Buffer.from("a text")],
      ["application/octet-stream", "application/x-unheard-of", Buffer.from([1, 2, 3])],
    ];
    for (const [expected, declared, content] of cases) {
      const address = `image_uploads/types/${expected.replace("/", "-")}`;
      const headers = { ...serviceHeaders, ...(declared ? { "content-type": declared } : {}) };
      const up = await fetch(`${url}/object/${address}`, {
        method: "POST",
        headers,
        body: new Uint8Array(content),
      });
      assert.equal(up.status, 200, await up.text());
      const down = await fetch(`${url}/object/public/${address}`);
      assert.equal(down.headers.get("content-type"), expected);
      await down.body?.cancel();
    }
  }));

test("images too large to decode are refused from their header", () =>
  withStorage(async (storage) => {
    const { url, serviceHeaders } = storage;
    const uploadOf = (width: number, height: number, bytes = 0) =>
      fetch(`${url}/object/image_uploads/huge/${width}.png`, {
        method: "POST",
        headers: serviceHeaders,
        body: png(width, height, bytes),
      });
    for (const [width, height] of [
      [14_000, 14_000],
      [16_385, 1],
      [1, 16_385],
      [10_001, 10_000],
      [4_294_967_295, 4_294_967_295],
    ] as const) {
      const refusal = await refusalOf(await uploadOf(width, height, 1_000_000));
      assert.deepEqual(refusal, { status: 400, statusCode: "400", error: "invalid_image" });
    }
    assert.deepEqual((await filesOf(storage)).all, []);
    assert.equal((await uploadOf(10_000, 10_000)).status, 200);
    assert.equal((await uploadOf(16_384, 100)).status, 200);
  }));

test("a bucket that names the types it takes refuses others", () =>
  withStorage(async (storage) => {
    const { database, service } = storage;
    await database.sql`update storage.buckets set allowed_mime_types = '{image/png,video/*}' where id = 'training-data'`;
    const bucket = service.storage.from("training-data");
    const text = await bucket.upload("types/a.png", "no picture", { contentType: "image/png" });
    assert.equal((text.error as { statusCode?: string } | null)?.statusCode, "415");
    assert.deepEqual((await filesOf(storage)).all, []);
    assert.equal((await bucket.upload("types/a.png", png(1, 1))).error, null);
    const video = Buffer.from("\0\0\0\x18ftypisom\0\0\0\0isommp42", "latin1");
    assert.equal((await bucket.upload("types/a.mp4", video)).error, null);
  }));

test("a folder is listed with its files and its subfolders, a page at a time", () =>
  withStorage(async ({ service }) => {
    const bucket = service.storage.from("image_uploads");
    for (const name of ["f/b.png", "f/a.png", "f/sub/x.png", "f/sub/y.png", "f_/z.png", "f/!/q.png"]) {
      assert.equal((await bucket.upload(name, png(1, 1))).error, null);
    }
    const names = async (folder: string, options: object = {}) =>
      (await bucket.list(folder, options)).data?.map(({ name }) => name);
    assert.deepEqual(await names("f"), ["!", "a.png", "b.png", "sub"]);
    assert.deepEqual(await names("f/"), ["!", "a.png", "b.png", "sub"]);
    assert.deepEqual(await names(""), ["f", "f_"]);
    assert.deepEqual(await names("f/sub"), ["x.png", "y.png"]);
    assert.deepEqual(await names("f", { limit: 2, offset: 1 }), ["a.png", "b.png"]);
    assert.deepEqual(await names("f", { search: "A" }), ["a.png"]);
    assert.deepEqual(await names("f", { sortBy: { column: "name", order: "desc" } }), [
      "sub",
      "b.png",
      "a.png",
      "!",
    ]);
    assert.deepEqual(await names("f", { sortBy: { column: "created_at", order: "asc" } }), [
      "!",
      "sub",
      "b.png",
      "a.png",
    ]);
    const { data } = await bucket.list("f", { limit: 4 });
    assert.equal(data?.[1]?.metadata?.size, 33);
    assert.equal(data?.[3]?.id, null);
    assert.ok((await bucket.list("f", { sortBy: { column: "version; drop table" } })).error);
  }));

test("removing an object removes its content", () =>
  withStorage(async (storage) => {
    const { service, url, serviceHeaders } = storage;
    const bucket = service.storage.from("image_uploads");
    await bucket.upload("gone/a.png", png(1, 1));
    await bucket.upload("gone/b.png", png(1, 1));
    const { data } = await bucket.remove(["gone/a.png", "gone/none.png", "../../x"]);
    assert.deepEqual(
      data?.map(({ name }) => name),
      ["gone/a.png"],
    );
    const one = await fetch(`${url}/object/image_uploads/gone/b.png`, {
      method: "DELETE",
      headers: serviceHeaders,
    });
    assert.deepEqual(await one.json(), { message: "Successfully deleted" });
    const again = await fetch(`${url}/object/image_uploads/gone/b.png`, {
      method: "DELETE",
      headers: serviceHeaders,
    });
    assert.equal((await refusalOf(again)).statusCode, "404");
    assert.deepEqual((await filesOf(storage)).all, []);
  }));

test("buckets are shown to the service", () =>
  withStorage(async ({ service, as }) => {
    const { data } = await service.storage.listBuckets();
    assert.deepEqual(
      data?.map(({ id, public: isPublic, file_size_limit: limit }) => [id, isPublic, limit]),
      [
        ["image_uploads", true, 209_715_200],
        ["lora_files", true, 2_147_483_648],
        ["temporary", false, 524_288_000],
        ["training-data", false, 2_147_483_648],
      ],
    );
    assert.equal((await service.storage.getBucket("lora_files")).data?.name, "lora_files");
    assert.deepEqual((await (await as(randomUUID())).storage.listBuckets()).data, []);
    assert.equal((await service.storage.getBucket("none")).error?.message, "Bucket not found");
  }));

test("every answer can be read by a browser from anywhere", () =>
  withStorage(async ({ url, service }) => {
    await service.storage.from("image_uploads").upload("cors/a.png", png(1, 1));
    for (const [method, target] of [
      ["OPTIONS", "/object/upload/sign/image_uploads/cors/a.png"],
      ["OPTIONS", "/nothing/here"],
      ["GET", "/nothing/here"],
      ["GET", "/object/public/image_uploads/cors/a.png"],
      ["GET", "/object/public/image_uploads/cors/b.png"],
      ["HEAD", "/object/authenticated/training-data/cors/b.png"],
      ["POST", "/object/list/image_uploads"],
      ["PATCH", "/object/image_uploads/cors/a.png"],
    ]) {
      const response = await fetch(`${url}${target}`, { method: method ?? "GET" });
      assert.equal(response.headers.get("access-control-allow-origin"), "*", `${method} ${target}`);
      assert.match(response.headers.get("access-control-allow-methods") ?? "", /PUT.*DELETE/);
      assert.match(response.headers.get("access-control-allow-headers") ?? "", /x-upsert/);
      assert.ok(response.status < 500);
      await response.body?.cancel();
    }
  }));

test("a long file passes through without being held in memory", () =>
  withStorage(async ({ url, serviceHeaders }) => {
    const chunk = Buffer.alloc(1024 * 1024, 7);
    const before = process.memoryUsage().rss;
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss - before)), 10);
    const sent = await chunkedUpload(`${url}/object/training-data/big.bin`, serviceHeaders, chunk, 384);
    assert.equal(sent.status, 200, sent.body);
    const back = await fetch(`${url}/object/training-data/big.bin`, { headers: serviceHeaders });
    let received = 0;
    for await (const part of back.body ?? []) received += part.byteLength;
    clearInterval(watch);
    assert.equal(received, 384 * 1024 * 1024);
    assert.ok(most < 128 * 1024 * 1024, `${Math.round(most / 1024 / 1024)} MiB more than before`);
  }));

test("files made to hurt a decoder are refused from their header, or kept as bytes that nobody decodes", () =>
  withStorage(async (storage) => {
    const { url, serviceHeaders } = storage;
    const upload = async (name: string, body: Uint8Array<ArrayBuffer>) => {
      const headers = { ...serviceHeaders, "content-type": "image/png" };
      return await fetch(`${url}/object/image_uploads/${name}`, { method: "POST", headers, body });
    };
    const refused = await refusalOf(await upload("huge.png", png(14_000, 14_000, 100)));
    assert.deepEqual(refused, { status: 400, statusCode: "400", error: "invalid_image" });
    assert.deepEqual((await filesOf(storage)).all, []);

    // 10,000 frames of one pixel: a picture, whose frames are the business of whoever shows it.
    const frame = Buffer.from("21f90400000000002c000000000100010000020144003b".slice(0, -2), "hex");
    const frames = Array.from({ length: 10_000 }, () => frame);
    const gif = Buffer.concat([
      Buffer.from("GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff", "latin1"),
      ...frames,
      Buffer.from(";"),
    ]);
    for (const [name, body, type, attachment] of [
      ["frames.gif", gif, "image/gif", false],
      ["cut.png", Buffer.from(png(8, 8)).subarray(0, 18), "application/octet-stream", true],
      ["cut.jpg", Buffer.from("\xff\xd8\xff\xe0", "latin1"), "application/octet-stream", true],
      ["page.png", Buffer.from("<!doctype html><script>alert(1)</script>"), "application/octet-stream", true],
      [
        "drawing.png",
        Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'),
        "application/octet-stream",
        true,
      ],
      ["empty.png", Buffer.alloc(0), "application/octet-stream", true],
    ] as const) {
      assert.equal((await upload(name, new Uint8Array(body))).status, 200, name);
      const back = await fetch(`${url}/object/public/image_uploads/${name}`);
      assert.equal(back.headers.get("content-type"), type, name);
      assert.equal(back.headers.get("x-content-type-options"), "nosniff");
      assert.match(back.headers.get("content-security-policy") ?? "", /default-src 'none'.*sandbox/);
      assert.equal(
        back.headers.get("content-disposition")?.startsWith("attachment") ?? false,
        attachment,
        name,
      );
      assert.equal((await back.arrayBuffer()).byteLength, body.length);
    }
  }));

test("a download is not sent again to whoever has it, told by tag or by time", () =>
  withStorage(async ({ service, url }) => {
    await service.storage.from("image_uploads").upload("a.png", png(1, 1));
    const first = await fetch(`${url}/object/public/image_uploads/a.png`);
    await first.arrayBuffer();
    const modified = first.headers.get("last-modified") ?? "";
    const statusWith = async (headers: Record<string, string>) => {
      // Not fetch(), which keeps a cache's headers for itself.
      const response = await new Promise<number>((resolve, reject) =>
        httpRequest(first.url, { headers }, (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        })
          .on("error", reject)
          .end(),
      );
      return response;
    };
    assert.equal(await statusWith({ "if-modified-since": modified }), 304);
    assert.equal(await statusWith({ "if-modified-since": new Date(0).toUTCString() }), 200);
    assert.equal(await statusWith({ "if-modified-since": "nonsense" }), 200);
    assert.equal(await statusWith({ "if-modified-since": modified, "if-none-match": '"other"' }), 200);
  }));
