import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { imageSize } from "image-size";
import { filmAt } from "../support/films.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";
import { assertHealthy, SandboxUnderTest, travelDetails, uploaded } from "../support/sandbox.ts";
import { assertNothingOpen, create, generationsOf, openStudio, type Row, spends } from "../support/studio.ts";

/** Every family of tasks without a key or a model: the sandbox's worker does all of it over HTTP. */
for (const { name, start } of hosts) {
  describe(`the sandbox on ${name}`, () => {
    let sandbox: SandboxUnderTest;
    let host: HostUnderTest;
    before(async () => {
      sandbox = await SandboxUnderTest.beside(await start());
      ({ host } = sandbox);
    });
    after(() => sandbox?.close());

    test("it does every task type that is queued", async () => {
      const types = await host.sql<
        { name: string }[]
      >`select name from task_types where alias_of is null and category <> 'call'`;
      assert.ok(types.length > 30);
      assert.deepEqual(
        types.map(({ name }) => name).filter((name) => !sandbox.provider.taskTypes.includes(name)),
        [],
      );
    });

    test("pictures from the user's own picture: as large as it, twice as large, within the mask; a foreign one is not fetched", async () => {
      const studio = await openStudio(host);
      const image = await uploaded(studio, png({ width: 80, height: 120, colour: 0x20_80_40 }), "image/png");
      const mask_url = await uploaded(
        studio,
        png({ width: 80, height: 120, colour: 0xff_ff_ff }),
        "image/png",
      );
      const wanted: [string, Row, number, number][] = [
        ["qwen_image_edit", { image, prompt: "in snow" }, 80, 120],
        ["z_image_turbo_i2i", { image_url: image, prompt: "at night", image_size: "auto" }, 80, 120],
        ["image_inpaint", { image_url: image, mask_url, prompt: "a lamp" }, 80, 120],
        ["annotated_image_edit", { image_url: image, mask_url, prompt: "a lamp" }, 80, 120],
        ["image-upscale", { image, scale_factor: 2.5 }, 200, 300],
        ["image_upscale", { image }, 160, 240],
        [
          "magic_edit",
          { image_url: "https://media.example/x.png", prompt: "x", resolution: "96x64" },
          96,
          64,
        ],
        ["qwen_image", { prompt: "a fox", resolution: "96x64" }, 96, 64],
      ];
      const ids = [];
      for (const [type, params] of wanted) ids.push(await create(studio, type, params));
      const rows = await sandbox.run(studio, ...ids);
      for (const [index, row] of rows.entries()) {
        const response = await fetch(String(row["output_location"]));
        const { width, height } = imageSize(new Uint8Array(await response.arrayBuffer()));
        assert.deepEqual([width, height], wanted[index]?.slice(2), wanted[index]?.[0]);
      }
      assert.equal((await spends(host, studio)).rows.length, wanted.length);
      await assertHealthy(host);
    });

    test("the other films, a frame of one, a pose, and a LoRA", async () => {
      const studio = await openStudio(host);
      const film = await create(studio, "wan_2_2_i2v", {
        orchestrator_details: {
          ...travelDetails({}),
          orchestrator_task_id: "sm_12345678_abcdef",
          duration: 1,
        },
      });
      const [turbo] = await sandbox.run(studio, film);
      const frame = await create(studio, "extract_frame", { input_video_task_id: film, frame_index: 3 });
      const others = await sandbox.run(
        studio,
        frame,
        await create(studio, "animate_character", {
          character_image_url: "https://media.example/c.png",
          motion_video_url: "https://media.example/m.mp4",
          resolution: "480p",
        }),
        await create(studio, "rife_interpolate_images", {
          input_image_path1: "https://media.example/1.png",
          input_image_path2: "https://media.example/2.png",
          frames: 4,
          resolution: "96x64",
        }),
        await create(studio, "generate_openpose", {
          image: "https://media.example/1.png",
          resolution: "96x64",
        }),
        await create(studio, "lora_training", { name: "fox" }),
      );
      for (const row of [turbo, ...others]) {
        assert.equal(row?.["status"], "Complete", `${row?.["task_type"]}: ${row?.["error_message"]}`);
      }
      // Four pictures: a second at least between each two, whatever `duration` says.
      assert.equal((await filmAt(turbo?.["output_location"])).frames, 49);
      const [still, dance, steps, , lora] = others.map((row) => row["output_location"]);
      const bytes = new Uint8Array(await (await fetch(String(still))).arrayBuffer());
      assert.deepEqual(
        { ...imageSize(bytes), orientation: 0 },
        { width: 96, height: 64, type: "png", orientation: 0 },
      );
      assert.equal((await filmAt(dance)).frames, 49);
      assert.equal((await filmAt(steps)).frames, 4);
      const file = Buffer.from(await (await fetch(String(lora))).arrayBuffer());
      const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString()) as Row;
      assert.ok(header["sandbox.lora_A.weight"]);
      assert.equal((await spends(host, studio)).rows.length, 6);
      await assertHealthy(host);
    });

    test("another project's task cannot be named as an input, though the worker might read it", async () => {
      const [owner, thief] = [await openStudio(host), await openStudio(host)];
      const film = await create(owner, "wgp", { prompt: "secret", video_length: 5, resolution: "96x64" });
      await sandbox.run(owner, film);
      const frame = await create(thief, "extract_frame", { input_video_task_id: film });
      const joined = await create(thief, "join_clips_orchestrator", {
        orchestrator_details: { run_id: "x", segment_task_ids: [film, film] },
      });
      for (const row of await sandbox.run(thief, frame, joined)) {
        assert.equal(row["status"], "Failed");
        assert.match(String(row["error_message"]), /is not in this project/);
      }
      assert.deepEqual(await generationsOf(thief), []);
      assert.deepEqual((await spends(host, thief)).rows, []);
      await assertNothingOpen(host, thief);
    });

    test("params of which nothing can be made fail at once and cost nothing", async () => {
      const studio = await openStudio(host);
      const wrong: [string, Row, RegExp][] = [
        [
          "travel_orchestrator",
          { orchestrator_details: { num_new_segments_to_generate: 0 } },
          /num_new_segments/,
        ],
        [
          "join_clips_orchestrator",
          { orchestrator_details: { clip_list: [{ url: "x" }] } },
          /fewer than two clips/,
        ],
        ["edit_video_orchestrator", { orchestrator_details: {} }, /source_video_url is missing/],
        [
          "edit_video_orchestrator",
          {
            orchestrator_details: {
              source_video_url: "x",
              portions_to_regenerate: [{ start_frame: 4, end_frame: 4 }],
            },
          },
          /start_frame before its end_frame/,
        ],
        [
          "animate_character",
          { character_image_url: "https://media.example/c.png" },
          /motion_video_url is missing/,
        ],
        ["extract_frame", { input_video_task_id: "nonsense" }, /is not in this project/],
      ];
      const ids = [];
      for (const [type, params] of wrong) ids.push(await create(studio, type, params));
      for (const [index, row] of (await sandbox.run(studio, ...ids)).entries()) {
        assert.equal(row["status"], "Failed", wrong[index]?.[0]);
        assert.match(String(row["error_message"]), wrong[index]?.[2] ?? /never/);
        assert.equal(row["attempts"], 0, "not tried again");
      }
      assert.deepEqual((await spends(host, studio)).rows, []);
      await assertNothingOpen(host, studio);
    });
  });
}
