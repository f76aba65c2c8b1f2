import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { type ClaimedTask } from "../../supabase/functions/_shared/worker/client.ts";
import { invoke, post, service, succeed } from "../support/calls.ts";
import { filmAt } from "../support/films.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";
import { assertHealthy, SandboxUnderTest, travelDetails, uploaded } from "../support/sandbox.ts";
import {
  assertNothingOpen,
  assertSettled,
  create,
  family,
  generationsOf,
  openStudio,
  type Row,
  spends,
  statusesOf,
  type Studio,
  taskOf,
  typeOfPrimary,
} from "../support/studio.ts";

/** Orchestrations in the sandbox, over HTTP, from the browser's create to the gallery and the bill. */
for (const { name, start } of hosts) {
  describe(`the sandbox's workflows on ${name}`, () => {
    let sandbox: SandboxUnderTest;
    let host: HostUnderTest;
    before(async () => {
      sandbox = await SandboxUnderTest.beside(await start());
      ({ host } = sandbox);
    });
    after(() => sandbox?.close());

    async function travel(studio: Studio, more: Row = {}): Promise<string> {
      return await create(studio, "travel_orchestrator", { orchestrator_details: travelDetails(more) });
    }

    /** Clips of six, seven, eight … frames, and what tells one from another. */
    async function clips(studio: Studio, count: number): Promise<string[]> {
      const ids = [];
      for (let index = 0; index < count; index++) {
        const params = { prompt: `clip ${index}`, seed: index, video_length: 6 + index, resolution: "96x64" };
        ids.push(await create(studio, "wgp", params));
      }
      return (await sandbox.run(studio, ...ids)).map(({ output_location }) => String(output_location));
    }

    test("a chained travel: segments one after the other, and the stitch of their frames, which the parent shows", async () => {
      const studio = await openStudio(host);
      const orchestrator = await travel(studio, { independent_segments: false });
      const [done] = await sandbox.run(studio, orchestrator);
      assert.equal(done?.["status"], "Complete", String(done?.["error_message"]));
      const { parent, children } = await family(studio, orchestrator);
      assert.deepEqual(
        children.map(({ child_order }) => child_order),
        [0, 1, 2],
      );
      assert.equal(parent.location, done?.["output_location"]);
      assert.equal(await typeOfPrimary(studio, parent), "travel_stitch");
      assert.ok((await fetch(String(parent["thumbnail_url"]))).ok);
      for (const child of children) {
        const { frames, width, height } = await filmAt(child.location);
        assert.deepEqual({ frames, width, height }, { frames: 9, width: 96, height: 64 });
      }
      // Two overlaps of two frames.
      const film = await filmAt(parent.location);
      assert.deepEqual([film.frames, film.seconds], [23, 23 / 16]);
      await assertSettled(host, studio, orchestrator, 4);
      await assertHealthy(host);
    });

    test("steerable-motion is such a travel: its parent has the film", async () => {
      const studio = await openStudio(host);
      const { body } = await invoke<{ task_id: string }>(studio, "steerable-motion", {
        project_id: studio.projectId,
        image_urls: [
          "https://media.example/1.png",
          "https://media.example/2.png",
          "https://media.example/3.png",
        ],
        base_prompts: ["a fox", "a heron"],
        segment_frames: [7],
        frame_overlap: [0],
        resolution: "96x64",
      });
      const { task_id } = body;
      const [done] = await sandbox.run(studio, task_id);
      assert.equal(done?.["status"], "Complete");
      const { parent } = await family(studio, task_id);
      assert.equal((await filmAt(parent.location)).frames, 14);
      await assertSettled(host, studio, task_id, 3);
    });

    test("a travel of independent segments: no stitch, each for itself; one made anew between the user's own pictures", async () => {
      const studio = await openStudio(host);
      const orchestrator = await travel(studio, { model_type: "i2v", independent_segments: true });
      const [done] = await sandbox.run(studio, orchestrator);
      assert.equal(done?.["status"], "Complete");
      assert.equal(done?.["output_location"], null);
      const { parent, children } = await family(studio, orchestrator);
      assert.equal(children.length, 3);
      await assertSettled(host, studio, orchestrator, 3);

      const picture = await uploaded(studio, png({ width: 32, height: 32, colour: 0xff_00_00 }), "image/png");
      const segment = await create(studio, "individual_travel_segment", {
        parsed_resolution_wh: "96x64",
        segment_index: 1,
        parent_generation_id: parent.id,
        child_generation_id: children[1]?.id,
        orchestrator_details: { generation_source: "individual_segment" },
        individual_segment_params: { num_frames: 5, start_image_url: picture, end_image_url: picture },
      });
      const [remade] = await sandbox.run(studio, segment);
      assert.equal((await filmAt(remade?.["output_location"])).frames, 5);
      assert.equal((await family(studio, orchestrator)).children[1]?.location, remade?.["output_location"]);
      assert.equal((await spends(host, studio)).rows.length, 2);
      await assertHealthy(host);
    });

    test("clips are joined: transitions at once, and a stitch that holds all frames but the replaced ones", async () => {
      const studio = await openStudio(host);
      const urls = await clips(studio, 3);
      const before = (await generationsOf(studio)).length;
      const orchestrator = await create(studio, "join_clips_orchestrator", {
        orchestrator_details: {
          run_id: randomUUID(),
          clip_list: urls.map((url) => ({ url })),
          context_frame_count: 2,
          gap_frame_count: 4,
          replace_mode: true,
        },
      });
      const [done] = await sandbox.run(studio, orchestrator);
      assert.equal(done?.["status"], "Complete", String(done?.["error_message"]));
      // 6 + 7 + 8: as many are made anew as are replaced.
      assert.equal((await filmAt(done?.["output_location"])).frames, 21);
      const parts = await partsOf(host, orchestrator);
      assert.deepEqual(
        parts.map(({ task_type }) => task_type),
        ["join_clips_segment", "join_clips_segment", "join_final_stitch"],
      );
      const transition = JSON.parse(String(parts[0]?.output_location)) as Row;
      assert.equal((await filmAt(transition["transition_url"])).frames, 8);
      assert.deepEqual(
        { ...transition, transition_url: undefined },
        {
          transition_url: undefined,
          frames: 8,
          gap_frames: 4,
          gap_from_clip1: 2,
          gap_from_clip2: 2,
          context_from_clip1: 2,
          context_from_clip2: 2,
          blend_frames: 2,
        },
      );
      assert.equal((await generationsOf(studio)).length, before + 3, "the whole, and both transitions");
      const { rows } = await spends(host, studio);
      assert.equal(rows.filter(({ task_id }) => task_id === orchestrator).length, 1);
      await assertNothingOpen(host, studio);
      await assertHealthy(host);
    });

    test("clips are joined in a chain, each join going on from the one before, around to the first clip", async () => {
      const studio = await openStudio(host);
      const urls = await clips(studio, 2);
      const orchestrator = await create(studio, "join_clips_orchestrator", {
        orchestrator_details: {
          run_id: randomUUID(),
          clip_list: urls.map((url) => ({ url })),
          loop_first_clip: true,
          use_parallel_joins: false,
          gap_frame_count: 3,
          per_join_settings: [{ gap_frame_count: 1 }],
        },
      });
      const [done] = await sandbox.run(studio, orchestrator);
      assert.equal(done?.["status"], "Complete", String(done?.["error_message"]));
      assert.equal((await filmAt(done?.["output_location"])).frames, 6 + 1 + 7 + 3 + 6);
      await assertHealthy(host);
    });

    test("clips are joined by crossfades: a film of their frames, less those that overlap", async () => {
      const studio = await openStudio(host);
      const urls = await clips(studio, 3);
      const { task_id } = await succeed(
        invoke<{ task_id: string }>(studio, "create-task", {
          family: "crossfade_join",
          project_id: studio.projectId,
          input: { clip_urls: urls, frame_overlap_settings_expanded: [2, 3] },
        }),
      );
      const [done] = await sandbox.run(studio, task_id);
      assert.equal(done?.["status"], "Complete", String(done?.["error_message"]));
      // 6 + 7 + 8 frames.
      assert.equal((await filmAt(done?.["output_location"])).frames, 21 - 2 - 3);
      await assertHealthy(host);
    });

    test("a travel that is joined: an orchestration within an orchestration, one charge", async () => {
      const studio = await openStudio(host);
      const orchestrator = await travel(studio, {
        model_type: "i2v",
        independent_segments: true,
        stitch_config: { gap_frame_count: 2, context_frame_count: 2, replace_mode: true },
      });
      const [done] = await sandbox.run(studio, orchestrator);
      assert.equal(done?.["status"], "Complete", String(done?.["error_message"]));
      assert.equal((await filmAt(done?.["output_location"])).frames, 27);
      const { parent } = await family(studio, orchestrator);
      assert.equal(parent.location, done?.["output_location"]);
      await assertSettled(host, studio, orchestrator, 6);
      await assertHealthy(host);
    });

    test("a video is edited in two places and stays as long as it was", async () => {
      const studio = await openStudio(host);
      const source = await create(studio, "wgp", {
        prompt: "a river",
        video_length: 40,
        resolution: "96x64",
      });
      const [made] = await sandbox.run(studio, source);
      const orchestrator = await create(studio, "edit_video_orchestrator", {
        orchestrator_details: {
          run_id: randomUUID(),
          source_video_url: made?.["output_location"],
          source_video_fps: 16,
          source_video_total_frames: 40,
          portions_to_regenerate: [
            { start_frame: 20, end_frame: 30, prompt: "a bridge" },
            { start_frame: 5, end_frame: 10 },
          ],
        },
      });
      const [done] = await sandbox.run(studio, orchestrator);
      assert.equal(done?.["status"], "Complete", String(done?.["error_message"]));
      assert.equal((await filmAt(done?.["output_location"])).frames, 40);
      const { rows } = await spends(host, studio);
      assert.equal(rows.filter(({ task_id }) => task_id === orchestrator).length, 1);
      await assertNothingOpen(host, studio);
      await assertHealthy(host);
    });

    test("cancelled in the middle: the film that is being made is dropped, and the seconds that it ran are charged", async () => {
      const studio = await openStudio(host);
      const orchestrator = await travel(studio, { independent_segments: true });
      let drop: () => void = () => undefined;
      const dropped = new Promise<void>((resolve) => (drop = resolve));
      const worker = sandbox.startWorker({
        ...sandbox.provider,
        async run(task, context) {
          if (task.task_type !== "travel_segment") return await sandbox.provider.run(task, context);
          await succeed(invoke(studio, "update-task-status", { task_id: orchestrator, status: "Cancelled" }));
          await aborted(context.signal);
          return await sandbox.provider.run(task, context).finally(drop);
        },
      });
      await dropped;
      await worker.stop();
      assert.deepEqual(await statusesOf(studio), { Cancelled: 4 });
      assert.deepEqual(await generationsOf(studio), []);
      const { rows } = await spends(host, studio);
      assert.deepEqual(
        rows.map(({ task_id, amount }) => [task_id, Number(amount) > 0 && Number(amount) % 278]),
        [[orchestrator, 0]],
      );
      await assertNothingOpen(host, studio);
      await assertHealthy(host);
    });

    test("a worker that is lost when it has created the parts, another in the middle of one: nothing is there twice", async () => {
      const studio = await openStudio(host);
      const orchestrator = await travel(studio, { independent_segments: false });
      await loseIn("travel_orchestrator", true);
      assert.equal((await partsOf(host, orchestrator)).length, 4);
      assert.equal((await taskOf(studio, orchestrator))["status"], "Queued");
      await loseIn("travel_segment", false);
      const [done] = await sandbox.run(studio, orchestrator);
      assert.equal(done?.["status"], "Complete", String(done?.["error_message"]));
      assert.equal((await partsOf(host, orchestrator)).length, 4);
      const { parent, children } = await family(studio, orchestrator);
      assert.equal(children.length, 3);
      assert.equal((await filmAt(parent.location)).frames, 23);
      await assertSettled(host, studio, orchestrator, 4);
      await assertHealthy(host);

      /** A worker is gone with such a task, before or after doing it: its supervisor says so. */
      async function loseIn(taskType: string, isDone: boolean): Promise<void> {
        const id = `lost-${randomUUID()}`;
        let reach: () => void = () => undefined;
        const reached = new Promise<void>((resolve) => (reach = resolve));
        const worker = sandbox.startWorker(
          {
            ...sandbox.provider,
            async run(task: ClaimedTask, context) {
              if (task.task_type !== taskType) return await sandbox.provider.run(task, context);
              if (isDone) await sandbox.provider.run(task, context);
              reach();
              await aborted(context.signal);
              throw new Error("gone");
            },
          },
          id,
        );
        await reached;
        await succeed(
          post(host, "worker-heartbeat", { worker_id: id, status: "crashed", tasks: [] }, service(host)),
        );
        await worker.stop();
      }
    });
  });
}

/** As soon as the worker has heard that its run is over. */
async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

async function partsOf(
  { sql }: HostUnderTest,
  orchestrator: string,
): Promise<{ task_type: string; output_location: string | null }[]> {
  return await sql<{ task_type: string; output_location: string | null }[]>`
    select task_type, output_location from tasks where orchestrator_task_id = ${orchestrator}
     order by task_type, (params ->> 'join_index')::int`;
}
