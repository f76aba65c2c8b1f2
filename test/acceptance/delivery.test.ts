import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import {
  type Answer,
  base64,
  booksOf,
  claimTask,
  type Completion,
  createProject,
  type Credentials,
  type Person,
  personWithProject,
  post,
  queueTask,
  refused,
  service,
  signUp,
  stateOf,
  succeed,
  tokenOf,
} from "../support/calls.ts";
import { type FalJob, pictures } from "../support/fake-fal.ts";
import { breaches, type Prober, publicBytes, serviceReads, someAttempts } from "../support/file-probes.ts";
import { film } from "../support/film.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";

type Owner = Person & { projectId: string };
type Completed = Completion & Record<string, unknown>;
interface Run {
  task_id: string;
  attempt: number;
  worker_id: string;
}

const randomPart = /\/(?:thumbnails\/)?\d+-([0-9a-f]{32})-[A-Za-z0-9._-]+$/;
const imagePrice = 6_500;

for (const { name, start } of hosts) {
  describe(`delivery of outputs on ${name}`, () => {
    let host: HostUnderTest;
    let stranger: Prober;
    before(async () => {
      host = await start();
      const { userId, credentials } = await signUp(host);
      stranger = { name: "another user", credentials, ownFolder: `${userId}/uploads` };
    });
    after(() => host?.stop());

    // The check, over every way in which files come

    test("check 61: a file in the body is nobody's until the commit that charges for it", async () => {
      const { owner, run } = await running();
      const bytes = png({ colour: 1 });
      const body = {
        ...run,
        filename: "output.png",
        file_data: base64(bytes),
        first_frame_filename: "thumb.png",
        first_frame_data: base64(png({ colour: 2 })),
      };
      const done = heldAtTheCharge(
        owner,
        () => complete(body),
        async () => {
          const paths = await pathsOf(run.task_id);
          assert.equal(paths.length, 2);
          await isNobodys(owner, run, paths);
        },
      );
      const completion = await succeed(done);
      assert.equal(completion.cost_microusd, imagePrice);
      await isDelivered(owner, run.task_id, [
        pathOf(completion.public_url),
        pathOf(completion.thumbnail_url ?? ""),
      ]);
    });

    test("check 61: uploads, further pictures and their thumbnail are nobody's until the commit", async () => {
      const { owner, run } = await running({ num_images: 4 });
      const first = await upload(run, "output.png", png({ colour: 1 }), { thumbnail: png({ colour: 9 }) });
      const further = [];
      for (const colour of [2, 3, 4]) further.push(await upload(run, "output.png", png({ colour })));
      const paths = [
        first.storage_path,
        first.thumbnail_storage_path ?? "",
        ...further.map((one) => one.storage_path),
      ];
      assert.equal(
        new Set(paths.map((path) => randomPart.exec(path)?.[1])).size,
        5,
        "each has a secret of its own",
      );
      await isNobodys(owner, run, paths);
      const body = {
        ...run,
        storage_path: first.storage_path,
        thumbnail_storage_path: first.thumbnail_storage_path,
        more_outputs: further.map(({ storage_path }) => ({ storage_path })),
      };
      const done = heldAtTheCharge(
        owner,
        () => complete(body),
        () => isNobodys(owner, run, paths.slice(0, 2)),
      );
      assert.equal((await succeed(done)).cost_microusd, 4 * imagePrice);
      await isDelivered(owner, run.task_id, paths);
      assert.equal((await booksOf(host, owner.userId)).held, 0);
    });

    test("check 61: what FAL's webhook stores is nobody's until the commit", async () => {
      const { owner, run } = await running({ num_images: 3 });
      const job = await jobAtFal(run, 3);
      const done = heldAtTheCharge(
        owner,
        () => tell(job),
        async () => {
          const paths = await pathsOf(run.task_id);
          assert.equal(paths.length, 3);
          await isNobodys(owner, run, paths);
        },
      );
      assert.deepEqual((await done).body, { received: true, state: "completed" });
      await isDelivered(owner, run.task_id, await pathsOf(run.task_id));
    });

    test("check 61: of every task type no output is anybody's before its completion", async () => {
      const types = await host.sql<{ name: string; makes: string | null }[]>`
        select name, (output_media(name))[1] as makes
          from task_types where is_active and category <> 'call' order by name`;
      assert.ok(types.length > 20);
      const owner = await richOwner();
      for (const { name: taskType, makes } of types) {
        const { task_id } = await queueTask(host, owner, { taskType, params: paramsOf(taskType) });
        const { attempt } = await claimTask(host, service(host), task_id);
        const run = { task_id, attempt, worker_id: "worker-1" };
        const bytes = makes === "video" ? film() : png();
        const { storage_path } = await upload(run, makes === "video" ? "a.mp4" : "a.png", bytes);
        assert.match(storage_path, randomPart, taskType);
        assert.deepEqual(
          await breaches(host, storage_path, bytes, [proberOf(owner), nobody()], someAttempts),
          [],
          taskType,
        );
        await succeed(complete({ ...run, storage_path }));
        assert.deepEqual(await publicBytes(host, storage_path), Buffer.from(bytes), taskType);
      }
    });

    test("check 61: a status that completes a task delivers the file that it names, and charges for it", async () => {
      const { owner, run } = await running();
      const { storage_path } = await upload(run, "output.png", png());
      await isNobodys(owner, run, [storage_path]);
      const output_location = publicUrl(storage_path);
      await succeed(status({ ...run, status: "Complete", output_location }));
      await isDelivered(owner, run.task_id, [storage_path]);
      assert.deepEqual(await spent(owner), [-imagePrice]);
    });

    test("check 61: a text that completes a run delivers the files of the run that it names, and no others", async () => {
      const { owner, run } = await running();
      const [named, other] = [
        await upload(run, "a.png", png()),
        await upload(run, "b.png", png({ colour: 3 })),
      ];
      const text = JSON.stringify({ transition_url: publicUrl(named.storage_path), frames: 8 });
      await succeed(complete({ ...run, output_location: text }));
      await isDelivered(owner, run.task_id, [named.storage_path]);
      assert.equal(await publicBytes(host, other.storage_path), undefined);
    });

    // What did not complete

    const ends: Record<string, (owner: Owner, run: Run) => Promise<unknown>> = {
      "its owner cancels it": (owner, { task_id }) =>
        succeed(post(host, "update-task-status", { task_id, status: "Cancelled" }, owner.credentials)),
      "its owner cancels it over REST": async (owner, { task_id }) => {
        const { error } = await owner.client.from("tasks").update({ status: "Cancelled" }).eq("id", task_id);
        assert.equal(error, null);
      },
      "it fails": (_owner, run) => succeed(status({ ...run, status: "Failed", error_details: "no memory" })),
      "it is queued again": (_owner, run) =>
        succeed(status({ ...run, status: "Queued", error_details: "timed out" })),
      "its lease ends": async (_owner, { task_id }) => {
        await host.sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${task_id}`;
        await host.sql`select sweep_expired_leases()`;
        assert.equal((await stateOf(host, task_id)).status, "Queued");
      },
      "its project is deleted": async (owner) => {
        const { error } = await owner.client.from("projects").delete().eq("id", owner.projectId);
        assert.equal(error, null);
      },
      "it completes with another file": async (_owner, run) => {
        const { storage_path } = await upload(run, "other.png", png({ colour: 7 }));
        await succeed(complete({ ...run, storage_path }));
      },
    };
    for (const [how, end] of Object.entries(ends)) {
      test(`check 61: a file of a run is nobody's when ${how}, and is deleted within the hour`, async () => {
        const { owner, run } = await running();
        const bytes = png({ colour: 5 });
        const { storage_path, thumbnail_storage_path = "" } = await upload(run, "output.png", bytes, {
          thumbnail: bytes,
        });
        await end(owner, run);
        for (const path of [storage_path, thumbnail_storage_path])
          assert.deepEqual(await breaches(host, path, bytes, everybody(owner)), []);
        await later("59 minutes");
        await deleteAbandoned();
        for (const path of [storage_path, thumbnail_storage_path]) {
          assert.equal(await serviceReads(host, path, bytes), false, "the content is gone");
          assert.deepEqual([...(await host.sql`select from storage.objects where name = ${path}`)], []);
        }
        await later("4 hours");
        await deleteAbandoned();
        assert.deepEqual([...(await host.sql`select from output_files where path = ${storage_path}`)], []);
      });
    }

    test("check 61: a run that is under way keeps its files, however long it takes", async () => {
      const { owner, run } = await running();
      const { storage_path } = await upload(run, "output.png", png());
      await later("2 hours");
      await deleteAbandoned();
      await isNobodys(owner, run, [storage_path]);
      await succeed(complete({ ...run, storage_path }));
      await later("9 hours");
      await deleteAbandoned();
      await isDelivered(owner, run.task_id, [storage_path]);
    });

    test("check 61: a file whose deletion began delivers nothing and is written by nobody", async () => {
      const { run } = await running();
      const { storage_path, upload_url } = await upload(run, "output.png", png());
      await succeed(status({ ...run, status: "Queued", error_details: "timed out" }));
      await later("20 minutes");
      const [taken] = await host.sql<
        { found: { paths: string[] } }[]
      >`select take_abandoned_files(10000) as found`;
      assert.ok(taken?.found.paths.includes(storage_path));
      const { attempt } = await claimTask(host, service(host), run.task_id);
      await refused(complete({ ...run, attempt, storage_path }), 404, "output_not_found");
      const put = await fetch(upload_url, { method: "PUT", body: png() as BodyInit });
      assert.equal(((await put.json()) as { code: string }).code, "ResourceLocked");
      assert.equal((await stateOf(host, run.task_id)).status, "In Progress");
      await deleteAbandoned();
    });

    test("check 61: children that upload while their orchestrator is being cancelled deliver nothing", async () => {
      const owner = await richOwner();
      const orchestrator = await claimed(owner, "travel_orchestrator", {
        orchestrator_details: { num_new_segments_to_generate: 2, model_name: "x" },
      });
      const child = await childOf(owner, orchestrator, {});
      const bytes = film();
      let uploaded = "";
      let completing: Promise<Answer<Completed>> | undefined;
      // As the statement of a slow PATCH … Cancelled does: the row is changed, and its children are not yet.
      await host.sql.transaction(async (patch) => {
        await patch`update tasks set updated_at = now() where id = ${orchestrator.task_id}`;
        ({ storage_path: uploaded } = await upload(child, "segment.mp4", bytes));
        completing = complete({ ...child, storage_path: uploaded });
        await waitsForLock(host);
        assert.deepEqual(await breaches(host, uploaded, bytes, everybody(owner)), []);
        await patch`select end_task(${orchestrator.task_id}, 'Cancelled', 'by its owner')`;
      });
      await refused(completing as Promise<Answer>, 409, "task_cancelled");
      assert.deepEqual(await breaches(host, uploaded, bytes, everybody(owner)), []);
      // The seconds that it ran before the cancel, and no more.
      const [part] = await host.sql<{ cost: number }[]>`
        select cost_microusd::int as cost from tasks where id = ${child.task_id}`;
      assert.ok(part && part.cost > 0 && part.cost < 60 * 278, String(part?.cost));
      assert.deepEqual(await spent(owner), [-part.cost]);
      await later("59 minutes");
      await deleteAbandoned();
      assert.equal(await serviceReads(host, uploaded, bytes), false);
    });

    // What may be handed on

    test("check 61: a part reads the clip that its orchestrator cut for it; a part that its owner makes opens nothing", async () => {
      const owner = await richOwner();
      const orchestrator = await claimed(owner, "travel_orchestrator", {
        orchestrator_details: { num_new_segments_to_generate: 2, model_name: "x" },
      });
      const [clip, secret] = [
        await upload(orchestrator, "clip.mp4", film()),
        await upload(orchestrator, "b.mp4", film()),
      ];
      const byOwner = {
        taskType: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator.task_id, video: publicUrl(clip.storage_path) },
      };
      await queueTask(host, owner, byOwner);
      assert.deepEqual(await breaches(host, clip.storage_path, film(), everybody(owner)), []);
      await childOf(owner, orchestrator, { video: publicUrl(clip.storage_path) });
      assert.deepEqual(await publicBytes(host, clip.storage_path), Buffer.from(film()));
      assert.deepEqual(await breaches(host, secret.storage_path, film(), everybody(owner)), []);
      // The next attempt of the orchestrator creates nothing anew: its parts still name the clip.
      await succeed(status({ ...orchestrator, status: "Queued", error_details: "timed out" }));
      await later("59 minutes");
      await deleteAbandoned();
      assert.deepEqual(await publicBytes(host, clip.storage_path), Buffer.from(film()));
      assert.equal(await serviceReads(host, secret.storage_path, film()), false);
      await succeed(
        post(
          host,
          "update-task-status",
          { task_id: orchestrator.task_id, status: "Cancelled" },
          owner.credentials,
        ),
      );
      await later("59 minutes");
      await deleteAbandoned();
      assert.equal(await publicBytes(host, clip.storage_path), undefined);
    });

    test("check 61: a task is completed with files that complete tasks of its project delivered, and no others'", async () => {
      const owner = await richOwner();
      const [paid, unpaid] = [await claimed(owner, "z_image_turbo"), await claimed(owner, "z_image_turbo")];
      const delivered = await upload(paid, "a.png", png());
      const beside = await upload(paid, "b.png", png({ colour: 3 }));
      await succeed(complete({ ...paid, storage_path: delivered.storage_path }));
      const secret = await upload(unpaid, "c.png", png());
      const elsewhere = { ...owner, projectId: await createProject(owner) };
      const token = await tokenOf(owner);
      await host.sql`update users set settings = '{}' where id = ${owner.userId}`;
      const run = await claimed(owner, "z_image_turbo");
      const foreign = await claimed(elsewhere, "z_image_turbo");
      for (const path of [secret.storage_path, publicUrl(secret.storage_path)]) {
        const named = path.startsWith("http") ? { output_location: path } : { storage_path: path };
        await refused(complete({ ...run, ...named }), 409, "output_not_final");
        await refused(complete({ ...foreign, ...named }), 403, "forbidden");
      }
      await refused(complete({ ...run, storage_path: beside.storage_path }), 404, "output_not_found");
      await refused(complete({ ...foreign, storage_path: delivered.storage_path }), 403, "forbidden");
      // Another's URL, a text about it, and a status open nothing either.
      await refused(
        post(host, "complete_task", { ...run, storage_path: secret.storage_path }, token.credentials),
        409,
        "stale_attempt",
      );
      await succeed(complete({ ...run, output_location: `see ${publicUrl(secret.storage_path)}` }));
      assert.deepEqual(await breaches(host, secret.storage_path, png(), everybody(owner)), []);
      await succeed(complete({ ...foreign, output_location: "https://media.example/a.png" }));
    });

    test("check 61: what workers report while a task runs, and when it fails, tells its owner no path", async () => {
      const { owner, run } = await running({ num_images: 2 });
      const { storage_path, upload_url } = await upload(run, "output.png", png());
      const refusal = await complete({ ...run, storage_path: `${storage_path}x` });
      assert.ok(refusal.text.includes(storage_path));
      const secret = randomPart.exec(storage_path)?.[1] ?? "";
      const said = [
        `Upload failed: [EDGE_FAIL:complete_task:HTTP_404] 404 after 1 attempts: ${refusal.text}`,
        `409 Client Error: Conflict for url: ${upload_url}`,
        publicUrl(storage_path),
        storage_path.slice(0, storage_path.indexOf(secret) + 30),
        encodeURIComponent(storage_path),
      ];
      for (const text of said) {
        await succeed(
          status({
            ...run,
            status: "In Progress",
            output_location: text,
            progress_message: text.slice(0, 200),
          }),
        );
        await knowsNothing(owner, secret);
        const written = await fetch(`${host.apiUrl}/rest/v1/tasks?id=eq.${run.task_id}`, {
          method: "PATCH",
          headers: { ...service(host), apikey: host.keys.serviceRoleKey, "content-type": "application/json" },
          body: JSON.stringify({ output_location: text, error_details: text }),
        });
        assert.equal(written.status, 204, await written.text());
        await knowsNothing(owner, secret);
      }
      await succeed(
        status({ ...run, status: "Failed", output_location: said[0], error_details: said.join(" ") }),
      );
      await knowsNothing(owner, secret);
      const { error_message } = await stateOf(host, run.task_id);
      assert.match(
        error_message ?? "",
        /Upload failed: \[EDGE_FAIL:complete_task:HTTP_404\]/,
        "the rest is told",
      );
    });

    // S8
    test("check 61: where storage cannot keep files of finished tasks, an upload URL replaces no delivered output", async () => {
      await host.sql`alter table storage.objects disable trigger keep_finished_files`;
      try {
        const { owner, run } = await running({ num_images: 2 });
        const bytes = png({ colour: 1 });
        const first = await upload(run, "output.png", bytes, { thumbnail: bytes });
        const second = await upload(run, "output.png", bytes);
        const body = {
          ...run,
          storage_path: first.storage_path,
          thumbnail_storage_path: first.thumbnail_storage_path,
          more_outputs: [{ storage_path: second.storage_path }],
        };
        const done = await succeed(complete(body));
        assert.deepEqual(await succeed(complete(body)), done, "a repeat is answered alike");
        for (const { upload_url, thumbnail_upload_url } of [first, second]) {
          for (const url of [upload_url, thumbnail_upload_url ?? upload_url])
            assert.equal(
              (await fetch(url, { method: "PUT", body: png({ colour: 8 }) as BodyInit })).status,
              200,
            );
        }
        const variants = await host.sql<{ location: string; thumbnail: string | null }[]>`
          select location, thumbnail_url as thumbnail from generation_variants where source_task_id = ${run.task_id}`;
        assert.equal(variants.length, 2);
        const urls = [done.public_url, done.thumbnail_url ?? "", ...variants.map(({ location }) => location)];
        for (const url of urls)
          assert.deepEqual(Buffer.from(await (await fetch(url)).arrayBuffer()), Buffer.from(bytes), url);
        assert.deepEqual(await breaches(host, first.storage_path, png({ colour: 8 }), everybody(owner)), []);
        assert.deepEqual(await spent(owner), [-2 * imagePrice]);
        const [fault] =
          await host.sql`select rule from find_task_faults() where rule = 'finished_files_are_not_kept'`;
        assert.ok(fault, "the doctor names it");
      } finally {
        await host.sql`alter table storage.objects enable trigger keep_finished_files`;
      }
    });

    // Who tries

    function nobody(): Prober {
      return {
        name: "the public key",
        credentials: { apikey: host.keys.publishableKey },
        ownFolder: undefined,
      };
    }

    function proberOf({ credentials, userId }: Person): Prober {
      return { name: "the owner", credentials, ownFolder: `${userId}/uploads` };
    }

    function everybody(owner: Owner): Prober[] {
      return [proberOf(owner), stranger, nobody()];
    }

    /** Neither bytes nor name: by no request to storage, in no row that the owner reads, in no table beside the one of secrets. */
    async function isNobodys(owner: Owner, { task_id }: Run, paths: readonly string[]): Promise<void> {
      const token = await tokenOf(owner);
      const probers = [
        ...everybody(owner),
        { ...proberOf(owner), name: "the owner's token", credentials: token.credentials },
      ];
      const secrets = paths.map((path) => randomPart.exec(path)?.[1] ?? "");
      await Promise.all([
        ...paths.map(async (path) => {
          const stored = await fetch(`${host.apiUrl}/storage/v1/object/authenticated/image_uploads/${path}`, {
            headers: service(host),
          });
          const bytes = Buffer.from(await stored.arrayBuffer());
          assert.deepEqual(await breaches(host, path, bytes, probers), []);
        }),
        knowsNothing(owner, ...secrets),
        ...["get-task-status", "get-task-output", "get-predecessor-output"].map(async (endpoint) => {
          const { text } = await post(host, endpoint, { task_id }, owner.credentials);
          assert.ok(!secrets.some((secret) => text.includes(secret)), endpoint);
        }),
      ]);
    }

    /** No row of any table beside that of the secrets holds one, nor do live events and webhooks, which are rows too. */
    async function knowsNothing(owner: Owner, ...secrets: string[]): Promise<void> {
      assert.ok(secrets.every((secret) => secret.length === 32));
      const tables = await host.sql<{ name: string }[]>`
        select format('%I.%I', schemaname, tablename) as name from pg_tables
         where schemaname in ('public', 'realtime') and tablename <> 'output_files'`;
      // Of a secret that was cut short, less than a third may be left.
      const pattern = secrets.map((secret) => secret.slice(0, 10)).join("|");
      const rows = await host.sql.query<{ found: string }[]>(
        tables
          .map(
            ({ name: table }) =>
              `select '${table} ' || row::text as found from ${table} as row where row::text ~ $1`,
          )
          .join(" union all "),
        [pattern],
      );
      assert.deepEqual([...rows], [], `a row names a file of ${owner.userId}`);
    }

    /** To everybody under its URL, and to its owner by every read of storage, as it was stored. */
    async function isDelivered(owner: Owner, taskId: string, paths: readonly string[]): Promise<void> {
      assert.equal((await stateOf(host, taskId)).status, "Complete");
      for (const path of paths) {
        const bytes = await publicBytes(host, path);
        assert.ok(bytes && (await serviceReads(host, path, bytes)), path);
        const files = owner.client.storage.from("image_uploads");
        const { data } = await files.download(path);
        assert.deepEqual(Buffer.from((await data?.arrayBuffer()) ?? new ArrayBuffer(0)), bytes);
        const folder = path.slice(0, path.lastIndexOf("/"));
        const listed = await files.list(folder);
        assert.ok(
          listed.data?.some((file) => path === `${folder}/${file.name}`),
          path,
        );
        const signed = await files.createSignedUrl(path, 60);
        assert.equal((await fetch(signed.data?.signedUrl ?? "")).status, 200);
      }
    }

    // What happens

    /** Holds the completion at its charge, all its files stored, while `look` looks; then lets it go on. */
    async function heldAtTheCharge<Body>(
      owner: Owner,
      send: () => Promise<Answer<Body>>,
      look: () => Promise<void>,
    ): Promise<Answer<Body>> {
      let answer: Promise<Answer<Body>> | undefined;
      await host.sql.transaction(async (holder) => {
        await holder`select from credit_accounts where user_id = ${owner.userId} for update`;
        answer = send();
        await waitsForLock(host);
        await look();
      });
      return await (answer as Promise<Answer<Body>>);
    }

    async function richOwner(): Promise<Owner> {
      const owner = await personWithProject(host);
      const body = {
        userId: owner.userId,
        amount: 500,
        description: "for tests",
        idempotency_key: randomUUID(),
      };
      await succeed(post(host, "grant-credits", body, service(host)));
      return owner;
    }

    async function running(params: Record<string, unknown> = {}): Promise<{ owner: Owner; run: Run }> {
      const owner = await personWithProject(host);
      return { owner, run: await claimed(owner, "z_image_turbo", params) };
    }

    async function claimed(
      owner: Owner,
      taskType: string,
      params: Record<string, unknown> = {},
    ): Promise<Run> {
      const { task_id } = await queueTask(host, owner, {
        taskType,
        params: { ...paramsOf(taskType), ...params },
      });
      const { attempt } = await claimTask(host, service(host), task_id);
      return { task_id, attempt, worker_id: "worker-1" };
    }

    /** As its worker creates and claims it. */
    async function childOf(owner: Owner, orchestrator: Run, params: Record<string, unknown>): Promise<Run> {
      const child = { orchestrator_task_id_ref: orchestrator.task_id, segment_index: 0, ...params };
      const { task_id } = await queueTask(
        host,
        { credentials: service(host), projectId: owner.projectId },
        { taskType: "travel_segment", params: { ...paramsOf("travel_segment"), ...child } },
      );
      const { attempt } = await claimTask(host, service(host), task_id);
      return { task_id, attempt, worker_id: "worker-1" };
    }

    function complete(body: Record<string, unknown>): Promise<Answer<Completed>> {
      return post(host, "complete_task", body, service(host));
    }

    function status(body: Record<string, unknown>): Promise<Answer> {
      return post(host, "update-task-status", body, service(host));
    }

    interface Uploaded {
      upload_url: string;
      storage_path: string;
      thumbnail_upload_url?: string;
      thumbnail_storage_path?: string;
    }

    async function upload(
      { task_id, attempt, worker_id }: Run,
      filename: string,
      bytes: Uint8Array,
      { thumbnail }: { thumbnail?: Uint8Array } = {},
    ): Promise<Uploaded> {
      const request = { task_id, attempt, worker_id, filename, content_type: "image/png" };
      const target = await succeed(
        post<Uploaded>(
          host,
          "generate-upload-url",
          { ...request, generate_thumbnail_url: Boolean(thumbnail) },
          service(host),
        ),
      );
      const put = async (url: string, body: Uint8Array) => {
        const response = await fetch(url, { method: "PUT", body: body as BodyInit });
        assert.equal(response.status, 200, await response.text());
      };
      await put(target.upload_url, bytes);
      if (thumbnail) await put(target.thumbnail_upload_url ?? "", thumbnail);
      return target;
    }

    async function jobAtFal(run: Run, images: number): Promise<FalJob> {
      const model = "fal-ai/z-image/turbo";
      const urls = Array.from({ length: images }, (_, colour) =>
        host.fakeFal.file(`/files/${run.task_id}-${colour}.png`, { bytes: png({ colour }) }),
      );
      const job: FalJob = {
        requestId: randomUUID(),
        model,
        input: {},
        webhook: undefined,
        steps: ["ended"],
        result: { status: 200, body: pictures(urls) },
        isCancelled: false,
        isWithdrawn: false,
        timesAsked: 0,
      };
      for (const note of [{ webhook_key: randomUUID() }, { request_id: job.requestId }]) {
        const provider_job = { provider: "fal", model, ...note };
        await succeed(status({ ...run, status: "In Progress", provider_job }));
      }
      return job;
    }

    function tell(job: FalJob): Promise<Answer> {
      const { body, headers } = host.fakeFal.news(job);
      return post(host, "fal-webhook", body, headers as Credentials);
    }

    async function pathsOf(taskId: string): Promise<string[]> {
      const rows = await host.sql<{ path: string }[]>`
        select name as path from storage.objects where position(${`/tasks/${taskId}/`} in name) > 0 order by name`;
      return rows.map(({ path }) => path);
    }

    async function spent({ userId }: Person): Promise<number[]> {
      const { ledger } = await booksOf(host, userId);
      return ledger.filter(({ type }) => type === "spend").map(({ amount }) => amount);
    }

    /** As if this time had passed for files. */
    async function later(interval: string): Promise<void> {
      await host.sql`
        update output_files set created_at = created_at - ${interval}::interval, check_at = check_at - ${interval}::interval,
                                upload_until = upload_until - ${interval}::interval`;
    }

    async function deleteAbandoned(): Promise<void> {
      const { more } = await succeed(
        post<{ more: boolean }>(host, "delete-abandoned-files", {}, service(host)),
      );
      assert.equal(more, false);
    }

    function publicUrl(path: string): string {
      return `${host.apiUrl}/storage/v1/object/public/image_uploads/${path}`;
    }

    function pathOf(url: string): string {
      const start = publicUrl("");
      assert.ok(url.startsWith(start), url);
      return url.slice(start.length);
    }
  });
}

/** What each type needs to be created and priced. */
function paramsOf(taskType: string): Record<string, unknown> {
  return {
    prompt: "a fox",
    ...(taskType.includes("orchestrator") && {
      orchestrator_details: { num_new_segments_to_generate: 1, model_name: "x", run_id: randomUUID() },
    }),
  };
}

/** Until a statement on this database waits for a lock. */
async function waitsForLock({ sql }: HostUnderTest): Promise<void> {
  for (let look = 0; look < 2_000; look++) {
    const waiting = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    if (waiting.length > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("nobody waits for a lock");
}
