import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { tokenOf } from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";
import { ShippedApiWorker } from "../support/shipped-worker/api-worker.ts";
import {
  ShippedWorker,
  type ShippedWorkerOptions,
  type Task,
} from "../support/shipped-worker/shipped-worker.ts";
import { film } from "../support/film.ts";
import {
  assertComplete,
  assertNothingOpen,
  assertSettled,
  create,
  family,
  generationsOf,
  newShot,
  openStudio,
  type Row,
  spends,
  statusesOf,
  type Studio,
  taskOf,
  typeOfPrimary,
} from "../support/studio.ts";

/** What the shipped GPU worker and a browser do together, from the browser's create to the gallery. */
for (const { name, start } of hosts) {
  describe(`the shipped worker's workflows on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    /** A machine of the cloud: the service key for everything. */
    async function cloudWorker(options: Partial<ShippedWorkerOptions> = {}): Promise<ShippedWorker> {
      const key = host.keys.serviceRoleKey;
      const worker = new ShippedWorker(host, { accessToken: key, clientKey: key, ...options });
      await worker.start();
      return worker;
    }

    test("a chained travel of three segments with its stitch", async () => {
      const studio = await openStudio(host);
      const shot = await newShot(studio);
      const orchestrator = await create(studio, "travel_orchestrator", {
        orchestrator_details: travelDetails({
          independent_segments: false,
          shot_id: shot,
          generation_name: "Journey",
        }),
      });
      const worker = await cloudWorker();
      const ran = await worker.workUntilIdle();
      assert.deepEqual(typesOf(ran), ["travel_orchestrator", ...times(3, "travel_segment"), "travel_stitch"]);

      const done = await assertComplete(studio, orchestrator);
      const { parent, children } = await family(studio, orchestrator);
      assert.deepEqual(
        children.map((child) => child.child_order),
        [0, 1, 2],
      );
      assert.equal(parent["name"], "Journey");
      assert.equal(parent.location, done["output_location"]);
      assert.equal(await typeOfPrimary(studio, parent), "travel_stitch");
      assert.ok(parent["thumbnail_url"], "the stitch came with a thumbnail");
      assert.deepEqual(Object.keys(parent["shot_data"] as Row), [shot]);
      assert.ok((await fetch(String(parent.location))).ok);
      await assertSettled(host, studio, orchestrator, 4);
      await assertTold(studio, [orchestrator, ...ran.map(({ task_id }) => task_id)]);
    });

    test("the same by the older worker, whose REST runs as anonymous", async () => {
      const studio = await openStudio(host);
      const orchestrator = await create(studio, "travel_orchestrator", {
        orchestrator_details: travelDetails({ independent_segments: false }),
      });
      const { serviceRoleKey, anonKey } = host.keys;
      const worker = new ShippedWorker(host, {
        accessToken: serviceRoleKey,
        clientKey: anonKey,
        isOlder: true,
      });
      const ran = await worker.workUntilIdle();
      assert.deepEqual(typesOf(ran), ["travel_orchestrator", ...times(3, "travel_segment"), "travel_stitch"]);
      const done = await assertComplete(studio, orchestrator);
      const { parent, children } = await family(studio, orchestrator);
      assert.equal(parent.location, done["output_location"]);
      assert.equal(children.length, 3);
      await assertSettled(host, studio, orchestrator, 4);
    });

    test("a travel of independent segments, then one segment made anew by itself", async () => {
      const studio = await openStudio(host);
      const orchestrator = await create(studio, "travel_orchestrator", {
        orchestrator_details: travelDetails({ model_type: "i2v", independent_segments: true }),
      });
      const worker = await cloudWorker();
      await worker.workUntilIdle();
      const done = await assertComplete(studio, orchestrator);
      assert.equal(done["output_location"], null, "its segments stand each for itself");
      const { parent, children } = await family(studio, orchestrator);
      assert.equal(parent.location, null);
      await assertSettled(host, studio, orchestrator, 3);

      const segment = await create(studio, "individual_travel_segment", {
        segment_index: 1,
        base_prompt: "again",
        parsed_resolution_wh: "902x508",
        model_name: "wan_2_2_i2v_lightning",
        parent_generation_id: parent.id,
        child_generation_id: children[1]?.id,
        orchestrator_details: { generation_source: "individual_segment" },
        individual_segment_params: { num_frames: 61 },
      });
      await worker.workUntilIdle();
      const remade = await assertComplete(studio, segment);
      const after = await family(studio, orchestrator);
      assert.equal(after.children.length, 3);
      assert.equal(after.children[1]?.location, remade["output_location"]);
      assert.deepEqual(
        [after.children[0]?.location, after.children[2]?.location],
        [children[0]?.location, children[2]?.location],
      );
      const { rows } = await spends(host, studio);
      assert.equal(rows.length, 2, "billed by itself");
    });

    test("a parallel join of four clips with its final stitch", async () => {
      const studio = await openStudio(host);
      const clips = await Promise.all(times(4, "clip").map((_, index) => uploaded(studio, index)));
      const orchestrator = await create(studio, "join_clips_orchestrator", {
        orchestrator_details: {
          run_id: "20260101",
          orchestrator_task_id: "join_12345678_abcdef",
          clip_list: clips.map((url) => ({ url })),
          prompt: "smooth transition",
        },
      });
      const ran = await (await cloudWorker()).workUntilIdle();
      assert.deepEqual(typesOf(ran), [
        "join_clips_orchestrator",
        ...times(3, "join_clips_segment"),
        "join_final_stitch",
      ]);
      const done = await assertComplete(studio, orchestrator);
      const { parent, children } = await family(studio, orchestrator);
      assert.equal(parent.location, done["output_location"]);
      assert.equal(await typeOfPrimary(studio, parent), "join_final_stitch");
      assert.equal(children.length, 3);
      await assertSettled(host, studio, orchestrator, 4);
    });

    test("a travel that is joined: an orchestration within an orchestration, one charge", async () => {
      const studio = await openStudio(host);
      const orchestrator = await create(studio, "travel_orchestrator", {
        orchestrator_details: travelDetails({
          independent_segments: true,
          stitch_config: { prompt: "smooth", model: "wan" },
        }),
      });
      const ran = await (await cloudWorker()).workUntilIdle();
      assert.deepEqual(
        typesOf(ran).toSorted(),
        [
          ...times(2, "join_clips_segment"),
          "join_clips_orchestrator",
          "join_final_stitch",
          "travel_orchestrator",
          ...times(3, "travel_segment"),
        ].toSorted(),
      );
      const done = await assertComplete(studio, orchestrator);
      const { parent, children } = await family(studio, orchestrator);
      assert.equal(parent.location, done["output_location"]);
      assert.ok(children.length >= 3);
      await assertSettled(host, studio, orchestrator, 6);
    });

    test("a video edited in two places", async () => {
      const studio = await openStudio(host);
      const source = await uploaded(studio, 9);
      const orchestrator = await create(studio, "edit_video_orchestrator", {
        orchestrator_details: {
          run_id: "20260102",
          source_video_url: source,
          source_video_fps: 16,
          portions_to_regenerate: [
            { start_frame: 0, end_frame: 10 },
            { start_frame: 30, end_frame: 40 },
          ],
        },
      });
      const ran = await (await cloudWorker()).workUntilIdle();
      assert.deepEqual(typesOf(ran), [
        "edit_video_orchestrator",
        ...times(2, "join_clips_segment"),
        "join_final_stitch",
      ]);
      const done = await assertComplete(studio, orchestrator);
      const { parent } = await family(studio, orchestrator);
      assert.equal(parent.location, done["output_location"]);
      await assertSettled(host, studio, orchestrator, 3);
    });

    test("an image, edited, by a worker on the owner's own machine: nothing is charged", async () => {
      const studio = await openStudio(host);
      const token = await tokenOf(studio);
      const image = await create(studio, "wan_2_2_t2i", { prompt: "a fox", seed: 1, resolution: "902x508" });
      const accessToken = token.credentials["authorization"]?.slice("Bearer ".length) ?? "";
      const worker = new ShippedWorker(host, { accessToken, clientKey: host.keys.anonKey });
      await worker.workUntilIdle();
      const done = await assertComplete(studio, image);
      const [source] = await generationsOf(studio);
      const edit = await create(studio, "qwen_image_edit", {
        image: done["output_location"],
        prompt: "in snow",
        based_on: source?.id,
      });
      await worker.workUntilIdle();
      await assertComplete(studio, edit);
      const generations = await generationsOf(studio);
      assert.equal(generations.length, 1);
      const { data } = await studio.client
        .from("generation_variants")
        .select("variant_type,is_primary")
        .order("created_at");
      assert.deepEqual(data, [
        { variant_type: "original", is_primary: true },
        { variant_type: "magic_edit", is_primary: false },
      ]);
      assert.equal((await spends(host, studio)).rows.length, 0);
      await assertNothingOpen(host, studio);
    });

    test("a segment that fails for good ends the travel; what was finished is charged", async () => {
      const studio = await openStudio(host);
      const orchestrator = await create(studio, "travel_orchestrator", {
        orchestrator_details: travelDetails({ independent_segments: true }),
      });
      const worker = await cloudWorker({
        generate: ({ params }) => {
          if (params["segment_index"] === 1) throw new Error("CUDA out of memory");
        },
      });
      await worker.workUntilIdle();
      const ended = await taskOf(studio, orchestrator);
      assert.equal(ended["status"], "Failed");
      const statuses = await statusesOf(studio);
      assert.equal(statuses["Complete"], 1);
      assert.equal(statuses["Failed"], 3);
      await assertSettled(host, studio, orchestrator, 1);
    });

    test("a segment that fails three times is run three times and no more", async () => {
      const studio = await openStudio(host);
      const orchestrator = await create(studio, "travel_orchestrator", {
        orchestrator_details: travelDetails({ num_new_segments_to_generate: 1, independent_segments: true }),
      });
      let runs = 0;
      const worker = await cloudWorker({
        generate: () => {
          runs++;
          throw new Error("ConnectionError: reset");
        },
      });
      await worker.workUntilIdle();
      assert.equal(runs, 3);
      assert.equal((await taskOf(studio, orchestrator))["status"], "Failed");
      assert.equal((await spends(host, studio)).rows.length, 0);
      await assertNothingOpen(host, studio);
    });

    test("a worker that dies in the middle: its segment is run again by another, and its late file is refused", async () => {
      const studio = await openStudio(host);
      const orchestrator = await create(studio, "travel_orchestrator", {
        orchestrator_details: travelDetails({ num_new_segments_to_generate: 2, independent_segments: true }),
      });
      const dying = await cloudWorker();
      const conductor = await dying.next();
      assert.equal(conductor.task_id, orchestrator);
      await dying.run(conductor);
      const segment = await dying.next();
      await dying.dieOf(segment, "CUDA driver error");
      assert.deepEqual(
        await taskOf(studio, segment.task_id).then(({ status, attempts }) => ({ status, attempts })),
        {
          status: "Queued",
          attempts: 1,
        },
      );
      const late = await dying.transport.once("complete_task", {
        task_id: segment.task_id,
        file_data: Buffer.from(film()).toString("base64"),
        filename: "late.mp4",
      });
      assert.equal(late.status, 409);

      const ran = await (await cloudWorker()).workUntilIdle();
      assert.ok(ran.some(({ task_id }) => task_id === segment.task_id));
      await assertComplete(studio, orchestrator);
      await assertSettled(host, studio, orchestrator, 2);
    });

    test("a browser that cancels by writing into the table ends everything; the worker learns of it", async () => {
      const studio = await openStudio(host);
      const orchestrator = await create(studio, "travel_orchestrator", {
        orchestrator_details: travelDetails({ independent_segments: true }),
      });
      const worker = await cloudWorker();
      await worker.run(await worker.next());
      const segment = await worker.next();
      const { data, error } = await studio.client
        .from("tasks")
        .update({ status: "Cancelled", updated_at: new Date().toISOString() })
        .eq("id", orchestrator)
        .select("id,status");
      assert.equal(error, null);
      assert.deepEqual(data, [{ id: orchestrator, status: "Cancelled" }]);
      await worker.run(segment);
      assert.deepEqual(await worker.workUntilIdle(), []);
      assert.deepEqual(await statusesOf(studio), { Cancelled: 4 });
      assert.equal((await generationsOf(studio)).length, 0);
      // The seconds that the segment ran.
      const { rows } = await spends(host, studio);
      assert.deepEqual(
        rows.map(({ task_id, amount }) => [task_id, Number(amount) > 0 && Number(amount) % 278]),
        [[orchestrator, 0]],
      );
      await assertNothingOpen(host, studio);
    });

    test("a stitch that fails ends its join; the transitions are charged", async () => {
      const studio = await openStudio(host);
      const clips = await Promise.all(times(3, "clip").map((_, index) => uploaded(studio, index)));
      const orchestrator = await create(studio, "join_clips_orchestrator", {
        orchestrator_details: { run_id: "20260103", clip_list: clips.map((url) => ({ url })) },
      });
      const worker = await cloudWorker({
        generate: ({ task_type }) => {
          if (task_type === "join_final_stitch") throw new Error("ffmpeg: no such filter");
        },
      });
      await worker.workUntilIdle();
      assert.equal((await taskOf(studio, orchestrator))["status"], "Failed");
      await assertSettled(host, studio, orchestrator, 2);
    });

    test("the API worker: pictures, a large film, a film with its first frame, a vendor's URL, a text", async () => {
      const studio = await openStudio(host);
      const worker = new ShippedApiWorker(host, {
        make({ task_id, task_type, params }) {
          if (params["prompt"] === "url") return { url: "https://vendor.example/out/fox.png?sig=1" };
          if (params["prompt"] === "text") return { url: "done, and nothing to show" };
          if (task_type !== "animate_character") return { bytes: png(), filename: `${task_id}_fox.jpeg` };
          const size = params["resolution"] === "720p" ? 2_200_000 : 5000;
          return { bytes: film({ bytes: size }), filename: `${task_id}_dance.mp4` };
        },
      });
      const animate = {
        character_image_url: "https://media.example/c.png",
        motion_video_url: "https://media.example/m.mp4",
      };
      const tasks = {
        picture: await create(studio, "qwen_image", { prompt: "a fox", seed: 1 }),
        inpaint: await create(studio, "image_inpaint", {
          prompt: "x",
          image_url: "https://media.example/i.png",
          mask_url: "https://media.example/m.png",
        }),
        small: await create(studio, "animate_character", { ...animate, resolution: "480p" }),
        large: await create(studio, "animate_character", { ...animate, resolution: "720p" }),
        url: await create(studio, "z_image_turbo", { prompt: "url" }),
        text: await create(studio, "z_image_turbo", { prompt: "text" }),
      };
      for (let done = 0; done < 6;) done += (await worker.round()).length;
      const rows = Object.fromEntries(
        await Promise.all(
          Object.entries(tasks).map(async ([key, id]) => [key, await assertComplete(studio, id)] as const),
        ),
      );
      for (const key of ["picture", "inpaint", "small", "large"]) {
        const response = await fetch(String(rows[key]?.["output_location"]));
        assert.equal(
          response.headers.get("content-type"),
          key === "picture" || key === "inpaint" ? "image/png" : "video/mp4",
        );
        await response.body?.cancel();
      }
      assert.ok(rows["small"]?.["thumbnail_url"]);
      assert.equal(rows["url"]?.["output_location"], "https://vendor.example/out/fox.png?sig=1");
      assert.equal(rows["text"]?.["output_location"], "done, and nothing to show");
      const generations = await generationsOf(studio);
      assert.deepEqual(
        new Set(generations.map(({ source_task_id }) => source_task_id)),
        new Set([tasks.picture, tasks.inpaint, tasks.small, tasks.large, tasks.url]),
        "a text is nothing to look at",
      );
      assert.equal((await spends(host, studio)).rows.length, 6);
      await assertNothingOpen(host, studio);
    });

    test("a task that a browser inserts itself runs like one that was created", async () => {
      const studio = await openStudio(host);
      const { data, error } = await studio.client
        .from("tasks")
        .insert({
          project_id: studio.projectId,
          task_type: "wan_2_2_t2i",
          params: { prompt: "a heron" },
          status: "Queued",
        })
        .select("id,status,user_id")
        .single();
      assert.equal(error, null);
      const task = data as { id: string; status: string; user_id: string };
      assert.deepEqual([task.status, task.user_id], ["Queued", studio.userId]);
      await (await cloudWorker()).workUntilIdle();
      await assertComplete(studio, task.id);
      assert.equal((await generationsOf(studio)).length, 1);
      assert.equal((await spends(host, studio)).rows.length, 1);
    });
  });
}

function travelDetails(more: Row): Row {
  const count = (more["num_new_segments_to_generate"] as number | undefined) ?? 3;
  return {
    orchestrator_task_id: "sm_12345678_abcdef",
    run_id: `2026${randomUUID().slice(0, 8)}`,
    model_name: "wan_2_2_vace",
    parsed_resolution_wh: "902x508",
    num_new_segments_to_generate: count,
    segment_frames_expanded: times(count, 61),
    base_prompts_expanded: Array.from({ length: count }, (_, index) => `prompt ${index}`),
    negative_prompts_expanded: times(count, ""),
    frame_overlap_expanded: times(count, 10),
    input_image_paths_resolved: times(count + 1, "https://media.example/in.png"),
    ...more,
  };
}

function times<Value>(count: number, value: Value): Value[] {
  return Array.from({ length: count }, () => value);
}

function typesOf(tasks: Task[]): string[] {
  return tasks.map(({ task_type }) => task_type);
}

/** A film of the user's own, put into their folder by the browser; its public URL. */
async function uploaded({ client, userId }: Studio, number: number): Promise<string> {
  const path = `${userId}/uploads/${Date.now()}-${randomUUID().slice(0, 8)}.mp4`;
  const bucket = client.storage.from("image_uploads");
  const { error } = await bucket.upload(
    path,
    new Blob([film({ bytes: 1000 + number }) as BlobPart], { type: "video/mp4" }),
  );
  assert.equal(error, null);
  return bucket.getPublicUrl(path).data.publicUrl;
}

/** Each of these tasks was told of from its beginning to its end, each generation when it came, and the balance. */
async function assertTold({ events }: Studio, tasks: string[]): Promise<void> {
  const told = (id: string) =>
    events
      .filter(({ event, payload }) => event === "task-update" && payload["task_id"] === id)
      .map(({ payload }) => payload["status"]);
  for (let wait = 0; wait < 100 && !tasks.every((id) => told(id).includes("Complete")); wait++)
    await pause(20);
  for (const id of tasks) {
    const statuses = told(id);
    assert.equal(statuses[0], "Queued");
    assert.ok(statuses.includes("In Progress"));
    assert.equal(statuses.filter((status) => status === "Complete").length, 1);
  }
  assert.ok(events.some(({ event }) => event === "generation"));
  assert.ok(events.some(({ event, payload }) => event === "balance" && payload["held_microusd"] === 0));
}
