import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { families } from "../../supabase/functions/_shared/generators/families.ts";
import { invoke, succeed } from "../support/calls.ts";
import { useDefaultPrices } from "../support/default-prices.ts";
import type { FalJob } from "../support/fake-fal.ts";
import { flatFilm } from "../support/fake-fal/films.ts";
import { assertRequests, type KeptRequest, named } from "../support/fal-requests.ts";
import { FalWorkerUnderTest, startFalProcess } from "../support/fal-worker.ts";
import { familyCases, makeRows, type RowIds, withRows } from "../support/family-fixtures.ts";
import { factsOfFilm } from "../support/films.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { until } from "../support/live-events.ts";
import { png } from "../support/png.ts";
import { ShippedWorker } from "../support/shipped-worker/shipped-worker.ts";
import { assertHealthy, ended } from "../support/sandbox.ts";
import {
  assertNothingOpen,
  family as familyOf,
  newShot,
  openStudio,
  type Row,
  spends,
  type Studio,
} from "../support/studio.ts";

const cases = await familyCases();
/** How many of a family's requests are run: the least that a client sends is the first, everything it can send the second. */
const runs: Record<string, number> = {
  travel_between_images: 1,
  join_clips: 1,
  edit_video_orchestrator: 1,
  individual_travel_segment: 2,
};

/** Films that the requests name: as long as the requests say. */
const films: Record<string, { frames: number; framesPerSecond: number }> = {
  "dance.mp4": { frames: 80, framesPerSecond: 16 },
  "film.mp4": { frames: 240, framesPerSecond: 24 },
};
const usualFilm = { frames: 48, framesPerSecond: 16 };

interface EndedTask extends Row {
  id: string;
  task_type: string;
  status: string;
  root: string;
  output_location: string | null;
  is_orchestrator: boolean;
  is_upscale: boolean;
  has_origin: boolean;
  cost_microusd: number;
  provider_cost_microusd: number | null;
  /** Submissions that FAL was paid for. */
  jobs: number;
}

/** A host whose operator has a key of FAL and nothing else: no GPU worker, no sandbox. */
for (const { name, start } of hosts) {
  describe(`with a FAL key alone, on ${name}`, () => {
    let worker: FalWorkerUnderTest;
    let host: HostUnderTest;
    let studio: Studio;
    let rows: RowIds;
    /** Names of the user's files by their bytes, and their addresses by name. */
    const files = new Map<string, string>();
    const addresses = new Map<string, string>();
    before(async () => {
      worker = new FalWorkerUnderTest(await start());
      ({ host } = worker);
      await useDefaultPrices(host.sql);
      studio = await openStudio(host);
      await host.sql`select add_credit(${studio.userId}, 'manual', 500000000)`;
      rows = await makeRows(host.sql, studio.projectId);
      await host.sql`select end_task(${rows.travel}, 'Cancelled', 'not part of the test')`;
      await upload(["picture 0.png", "picture 1.png", "picture 2.png", "picture 3.png"]);
    });
    after(() => worker?.close());

    /** Puts files of these names into the user's folder. */
    async function upload(names: Iterable<string>): Promise<void> {
      for (const file of names) {
        if (addresses.has(file)) continue;
        const isFilm = file.endsWith(".mp4");
        const bytes = isFilm
          ? await flatFilm({ width: 96, height: 64, ...usualFilm, ...films[file] }, file)
          : png({ width: 96, height: 64, colour: addresses.size + 1 });
        const key = `${studio.userId}/uploads/${randomUUID()}${path.extname(file)}`;
        const bucket = studio.client.storage.from("image_uploads");
        const type = isFilm ? "video/mp4" : "image/png";
        const { error } = await bucket.upload(key, new Blob([bytes as BlobPart], { type }));
        assert.equal(error, null);
        addresses.set(file, bucket.getPublicUrl(key).data.publicUrl);
        files.set(Buffer.from(bytes).toString("base64"), file);
      }
    }

    /** The same request with the user's own files, which can be fetched. */
    async function withFiles<Value>(input: Value): Promise<Value> {
      const text = JSON.stringify(input);
      const address = /https:\/\/media\.example\/([\w.-]+\.(?:png|mp4))/g;
      await upload([...text.matchAll(address)].map(([, file]) => file ?? ""));
      return JSON.parse(text.replace(address, (_, file: string) => addresses.get(file) ?? "")) as Value;
    }

    /** Tasks and all their parts, as they stand at the end. */
    async function treeOf(ids: readonly string[]): Promise<EndedTask[]> {
      return await host.sql<EndedTask[]>`
        with recursive tree (id, root) as (
          select id, id from tasks where id = any (${ids}::uuid[])
          union all select task.id, tree.root from tasks as task join tree on task.orchestrator_task_id = tree.id)
        select task.id, task.task_type, task.status::text, error_message, root, output_location, is_orchestrator,
               kind.category = 'upscale' as is_upscale, task.params ->> 'generation_id' is not null as has_origin,
               task.cost_microusd::float8, known.provider_cost_microusd::float8, coalesce(known.jobs, 0) as jobs
          from tree join tasks as task using (id) join task_types as kind on kind.name = task.task_type
          left join task_provider_costs as known on known.task_id = task.id`;
    }

    /** What must hold of everything that FAL has made: the media, the lineage, the events, the charge and the margin. */
    async function assertMade(ids: readonly string[]): Promise<EndedTask[]> {
      const tree = await treeOf(ids);
      for (const task of tree) {
        assert.equal(task.status, "Complete", `${task.task_type}: ${String(task["error_message"])}`);
        await assertFalMedia(task);
      }
      await assertLineage(tree);
      await until(studio.events, (seen) =>
        tree.every(({ id }) =>
          seen.some(
            ({ event, payload }) =>
              event === "task-update" && payload["task_id"] === id && payload["status"] === "Complete",
          ),
        ),
      );
      await assertMargin(tree);
      assert.deepEqual(worker.fal.refusals, []);
      return tree;
    }

    /** Every file that a task stores comes from FAL, byte by byte. */
    async function assertFalMedia(task: EndedTask): Promise<void> {
      const location = task.output_location;
      if (location === null) return;
      const urls = location.startsWith("{") ? [(JSON.parse(location) as Row)["transition_url"]] : [location];
      for (const url of urls) {
        const answer = await fetch(String(url));
        assert.equal(answer.status, 200, `${task.task_type}: ${String(url)}`);
        const bytes = new Uint8Array(await answer.arrayBuffer());
        assert.ok(worker.fal.maker(bytes), `${task.task_type} has FAL's file`);
      }
    }

    /** Each output is a generation or a variant of the task that made it. */
    async function assertLineage(tree: readonly EndedTask[]): Promise<void> {
      // An upscale of a file that no generation shows belongs to none.
      const made = tree.filter(
        (task) =>
          task.output_location !== null && !task.is_orchestrator && !(task.is_upscale && !task.has_origin),
      );
      const variants = await host.sql<{ source_task_id: string; location: string }[]>`
        select source_task_id, location from generation_variants where source_task_id = any (${made.map(({ id }) => id)}::uuid[])`;
      for (const { id, task_type: type } of made) {
        assert.ok(
          variants.some((variant) => variant.source_task_id === id),
          `${type} has a variant`,
        );
      }
      const orphans = await host.sql`
        select id from generations where is_child and parent_generation_id is null and project_id = ${studio.projectId}`;
      assert.deepEqual([...orphans], []);
    }

    /** What users pay covers what FAL bills, for each request. */
    async function assertMargin(tree: readonly EndedTask[]): Promise<void> {
      for (const root of new Set(tree.map((task) => task.root))) {
        const parts = tree.filter((task) => task.root === root);
        const [spent] = await host.sql<{ amount: number }[]>`
          select coalesce(sum(-amount_microusd), 0)::float8 as amount from credits_ledger where task_id = ${root} and type = 'spend'`;
        const cost = parts.reduce((sum, part) => sum + (part.provider_cost_microusd ?? 0), 0);
        const types = [...new Set(parts.map(({ task_type: type }) => type))].join();
        assert.ok(cost > 0, `${types}: FAL's cost is known`);
        assert.ok(
          (spent?.amount ?? 0) > cost,
          `${types}: ${spent?.amount} are charged and FAL costs ${cost}`,
        );
      }
    }

    /** What was sent to FAL for these tasks and their parts. */
    function requestsOf(tree: readonly EndedTask[], sent: unknown): KeptRequest[] {
      const jobs = new Map(worker.fal.jobs.map((job): [string, FalJob] => [job.requestId, job]));
      const naming = { fal: worker.fal, files, sent };
      return worker.steps
        .filter(({ taskId }) => tree.some(({ id }) => id === taskId))
        .map(({ taskType, step, requestId }) => {
          const job = jobs.get(requestId);
          assert.ok(job);
          return { task_type: taskType, step, model: job.model, input: named(job.input, naming) };
        });
    }

    test("every family ends Complete with FAL's media, lineage, live events, price and margin; each request equals its fixture", async () => {
      const created = [];
      for (const family of Object.keys(families)) {
        const own = cases.filter((one) => one.family === family).slice(0, runs[family] ?? 2);
        assert.ok(own.length > 0, family);
        for (const { title, input, tasks } of own) {
          const request = {
            family,
            project_id: studio.projectId,
            input: await withFiles(withRows(input, rows)),
          };
          const { task_ids: ids } = await succeed(
            invoke<{ task_ids: string[] }>(studio, "create-task", request),
          );
          created.push({ family, title, ids, sent: [input, tasks] });
        }
      }
      await worker.run(studio, ...created.flatMap(({ ids }) => ids));
      for (const { family, title, ids, sent } of created) {
        const tree = await assertMade(ids);
        assertRequests(family, title, requestsOf(tree, sent));
      }
      await assertNothingOpen(host, studio);
      await assertHealthy(host);
    });

    test("single-image-generate makes a picture for each prompt", async () => {
      const request = {
        project_id: studio.projectId,
        prompts: ["a fox", "an owl"],
        resolution: "512x384",
        seed: 11,
      };
      const { status, body, text } = await invoke<{ task_ids: string[] }>(
        studio,
        "single-image-generate",
        request,
      );
      assert.equal(status, 201, text);
      await worker.run(studio, ...body.task_ids);
      const tree = await assertMade(body.task_ids);
      assert.equal(tree.length, 2);
      assertRequests("single_image", "two prompts", requestsOf(tree, request));
    });

    test("steerable-motion of three prompts ends as one film on the shot's timeline", async () => {
      const own = await openStudio(host);
      await host.sql`select add_credit(${own.userId}, 'manual', 500000000)`;
      studio = own;
      const shot = await newShot(own);
      const request = {
        project_id: own.projectId,
        shot_id: shot,
        image_urls: [0, 1, 2, 3].map((index) => addresses.get(`picture ${index}.png`)),
        base_prompts: ["a fox", "a heron", "a lamp"],
        segment_frames: [33],
        frame_overlap: [0],
        resolution: "96x64",
        seed: 21,
      };
      const { status, body, text } = await invoke<{ task_id: string }>(own, "steerable-motion", request);
      assert.equal(status, 201, text);
      await worker.run(own, body.task_id);
      const tree = await assertMade([body.task_id]);
      const { parent, children } = await familyOf(own, body.task_id);
      assert.deepEqual(
        children.map(({ child_order: order }) => order),
        [0, 1, 2],
      );
      const film = await factsOfFilm(
        new Uint8Array(await (await fetch(String(parent.location))).arrayBuffer()),
      );
      assert.ok(Math.abs(film.seconds - 99 / 16) <= 1 / 16, `the film takes ${film.seconds} s`);
      const { data } = await own.client.from("shot_generations").select("generation_id").eq("shot_id", shot);
      assert.ok(
        (data as Row[]).some((row) => row["generation_id"] === parent.id),
        "the film is in the shot",
      );
      assertRequests("steerable_motion", "three prompts", requestsOf(tree, request));
      await assertNothingOpen(host, own);
      await assertHealthy(host);
    });

    test("while a GPU worker is active the tasks that it can run go to it, and FAL gets none", async () => {
      const own = await openStudio(host);
      await host.sql`select add_credit(${own.userId}, 'manual', 500000000)`;
      const shot = await newShot(own);
      const gpu = await gpuWorker();
      const before = worker.fal.jobs.length;
      const running = worker.startWorker();
      try {
        const created = [];
        for (const family of ["travel_between_images", "individual_travel_segment", "magic_edit"]) {
          const first = cases.find((one) => one.family === family);
          const input = { ...first?.input, ...(family === "individual_travel_segment" && { shot_id: shot }) };
          delete input["parent_generation_id" as keyof typeof input];
          const request = { family, project_id: own.projectId, input: await withFiles(input) };
          created.push(await succeed(invoke<{ task_id: string }>(own, "create-task", request)));
        }
        const ids = created.map(({ task_id: id }) => id);
        await gpu.workUntilIdle();
        for (const id of ids) await ended(own, id);
        const tree = await treeOf(ids);
        for (const task of tree) {
          assert.equal(task.status, "Complete", `${task.task_type}: ${String(task["error_message"])}`);
        }
        const workers = await host.sql<{ id: string }[]>`
          select distinct worker_id as id from tasks where id = any (${tree.map(({ id }) => id)}::uuid[])`;
        assert.deepEqual(
          workers.map(({ id }) => id),
          [gpu.id],
        );
        assert.equal(worker.fal.jobs.length, before);
      } finally {
        await running.stop();
        await silence(gpu.id);
      }
    });

    test("a task whose GPU worker dies in the middle of its run is finished at FAL, and charged once", async () => {
      const own = await openStudio(host);
      await host.sql`select add_credit(${own.userId}, 'manual', 500000000)`;
      const gpu = await gpuWorker();
      const before = worker.fal.jobs.length;
      const running = worker.startWorker();
      try {
        const input = await withFiles(cases.find(({ family }) => family === "magic_edit")?.input ?? {});
        const request = { family: "magic_edit", project_id: own.projectId, input };
        const { task_id: id } = await succeed(invoke<{ task_id: string }>(own, "create-task", request));
        assert.equal((await gpu.next()).task_id, id);
        await silence(gpu.id);
        await host.sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${id}`;
        await ended(own, id);
        const tree = await treeOf([id]);
        assert.equal(tree[0]?.status, "Complete", String(tree[0]?.["error_message"]));
        for (const task of tree) await assertFalMedia(task);
        await assertMargin(tree);
        assert.equal(worker.fal.jobs.length, before + 1);
        assert.equal((await spends(host, own)).rows.length, 1);
        await assertNothingOpen(host, own);
      } finally {
        await running.stop();
      }
    });

    /** The shipped GPU worker, which has said that it is there. */
    async function gpuWorker(): Promise<ShippedWorker> {
      const key = host.keys.serviceRoleKey;
      const gpu = new ShippedWorker(host, { accessToken: key, clientKey: key });
      await gpu.start();
      return gpu;
    }

    /** As time does to a worker that sends no more heartbeats. */
    async function silence(workerId: string): Promise<void> {
      await host.sql`
        update workers set last_heartbeat = now() - interval '1 hour', last_claim_at = now() - interval '1 hour' where id = ${workerId}`;
    }

    test("a travel whose worker is killed at each step is paid to FAL once and by the user once", async () => {
      const { fal } = worker;
      const own = await openStudio(host);
      await host.sql`select add_credit(${own.userId}, 'manual', 500000000)`;
      const before = fal.jobs.length;
      const { status, body, text } = await invoke<{ task_id: string }>(own, "steerable-motion", {
        project_id: own.projectId,
        image_urls: [0, 1, 2].map((index) => addresses.get(`picture ${index}.png`)),
        base_prompts: ["a fox", "a heron"],
        segment_frames: [33],
        frame_overlap: [0],
        resolution: "96x64",
        seed: 31,
      });
      assert.equal(status, 201, text);
      // Each job ends at the first question, so that a step takes one worker more and no longer.
      fal.plan = (job) => (job.steps = ["ended"]);
      let running = startFalProcess(host, "killed 0");
      const killed = new Set<string>();
      let killing: Promise<void> = Promise.resolve();
      fal.gate = (line) => {
        const [, requestId] = /^GET .*\/requests\/([^/]+)\/status/.exec(line) ?? [];
        if (requestId === undefined || killed.has(requestId)) return;
        killed.add(requestId);
        killing = killing.then(async () => {
          await running.kill("SIGKILL");
          // As time does to the runs of a worker that is dead.
          await host.sql`
            update tasks set lease_expires_at = now() - interval '1 second', max_attempts = 20
             where user_id = ${own.userId} and status = 'In Progress'`;
          running = startFalProcess(host, `killed ${killed.size}`);
        });
        return killing;
      };
      try {
        await ended(own, body.task_id);
      } finally {
        Object.assign(fal, { gate: () => undefined, plan: () => undefined });
        await running.kill("SIGTERM");
      }
      const tree = await treeOf([body.task_id]);
      for (const task of tree) {
        assert.equal(task.status, "Complete", `${task.task_type}: ${String(task["error_message"])}`);
        await assertFalMedia(task);
      }
      await assertMargin(tree);
      const jobs = fal.jobs.slice(before);
      assert.deepEqual(
        new Set(jobs.map(({ requestId }) => requestId)),
        killed,
        "a worker was killed at each job",
      );
      // The film and its size of each segment, the last frame of the first, the stitch: as many as without a kill.
      const submitted = tree.map((task) => [task.task_type, task.jobs]).sort();
      assert.deepEqual(submitted, [
        ["travel_orchestrator", 0],
        ["travel_segment", 2],
        ["travel_segment", 3],
        ["travel_stitch", 1],
      ]);
      assert.equal(jobs.length, 6);
      assert.equal((await spends(host, own)).rows.length, 1);
      await assertNothingOpen(host, own);
      await assertHealthy(host);
    });
  });
}
