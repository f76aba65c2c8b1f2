import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { HostUnderTest } from "../hosts.ts";
import { film } from "../film.ts";
import { png } from "../png.ts";
import { EdgeFailure, type Reply, Transport } from "./transport.ts";

type Params = Record<string, unknown>;

export interface Task {
  task_id: string;
  task_type: string;
  params: Params;
  project_id: string | null;
  attempts?: number;
}

interface UploadUrls {
  upload_url: string;
  storage_path: string;
  thumbnail_upload_url: string;
  thumbnail_storage_path: string;
}

interface Child {
  id: string;
  task_type: string;
  status: string;
  params: Params;
  output_location: string | null;
}

export interface ShippedWorkerOptions {
  /** Bearer of the functions: a service key on a cloud machine, an access token on the owner's. */
  accessToken: string;
  /** Key of `/rest/v1` and of heartbeats. */
  clientKey: string;
  id?: string;
  /** Headless-Wan2GP, the older of the two: REST by the anonymous key, one dependency as a string, no JSON outputs. */
  isOlder?: boolean;
  /** What happens instead of generating, by task type or for a task: throws what the model would. */
  generate?: (task: Task) => void;
  /** Bytes of a made video; the stitch's is beyond 2 MiB unless said. */
  sizeOf?: (task: Task) => number;
}

const terminal = ["complete", "failed", "cancelled", "canceled", "error"];
const inlineBytes = 2 * 1024 * 1024;
const imageTypes = /^(qwen_image|z_image|image_|annotated|magic_edit|single_image|wan_2_2_t2i)/;

/**
 * The shipped GPU worker, as far as a backend sees it: the requests, headers, order and repeats of its poll loop, its
 * orchestrators and its completions. Models are not run.
 */
export class ShippedWorker {
  readonly id: string;
  readonly transport: Transport;
  readonly #options: ShippedWorkerOptions;
  readonly #isOlder: boolean;

  constructor(host: HostUnderTest, options: ShippedWorkerOptions) {
    this.id = options.id ?? `gpu-20260101_000000-${randomUUID().slice(0, 8)}`;
    this.transport = new Transport(host, options.accessToken, options.clientKey);
    this.#options = options;
    this.#isOlder = options.isOlder ?? false;
  }

  /** Before anything else, the guard process says that the machine is there. */
  async start(): Promise<void> {
    const { status, body } = await this.transport.beat(this.id, "active", [
      {
        timestamp: new Date().toISOString(),
        level: "INFO",
        message: "worker up",
        task_id: null,
        metadata: {},
      },
    ]);
    assert.equal(status, 200);
    assert.equal((body as Params)["success"], true);
  }

  /** Works until nothing is to be claimed and no orchestrator has open children; answers what it ran. */
  async workUntilIdle(): Promise<Task[]> {
    const ran: Task[] = [];
    for (let turn = 0; turn < 200; turn++) {
      const task = await this.#next();
      if (!task) return ran;
      ran.push(task);
      await this.run(task);
    }
    throw new Error("the work does not end");
  }

  /** One task by the poll loop, not run. */
  async next(): Promise<Task> {
    const task = await this.#next();
    assert.ok(task, "there is something to claim");
    return task;
  }

  async #next(): Promise<Task | undefined> {
    const recovered = await this.transport.rest(
      "GET",
      `tasks?select=id,params,task_type,project_id&worker_id=eq.${this.id}&status=eq.In%20Progress&limit=1`,
    );
    const [row] = recovered.status === 200 ? (recovered.body as (Task & { id: string })[]) : [];
    const left = row && { ...row, task_id: row.id };
    if (left && !left.task_type.endsWith("_orchestrator")) return left;

    const counts = await this.transport.once("task-counts", { run_type: "gpu", include_active: true });
    const totals = (counts.body as { totals?: Record<string, number> } | undefined)?.totals ?? {};
    const isWorthIt =
      counts.status !== 200 || (totals["queued_only"] ?? 0) > 0 || (totals["eligible_queued"] ?? 0) > 0;
    if (isWorthIt) {
      const claimed = await this.transport.once("claim-next-task", { worker_id: this.id, run_type: "gpu" });
      if (claimed.status === 200) {
        const task = claimed.body as Task;
        assert.equal(typeof task.params, "object");
        assert.equal(typeof task.attempts, "number");
        return task;
      }
      assert.equal(claimed.status, 204, claimed.text);
    }
    if (!left) return undefined;
    const children = await this.#children(left.task_id);
    const isOpen = children.some(({ status }) => !terminal.includes(status.toLowerCase()));
    return isOpen ? undefined : left;
  }

  /** A task to its end, as the queue runs it. */
  async run(task: Task): Promise<void> {
    if (!task.project_id && /^(travel|edit_video)_orchestrator$/.test(task.task_type)) {
      return await this.#fail(task, "Orchestrator missing project_id");
    }
    const details = task.params["orchestrator_details"] as Params | undefined;
    task.params["task_id"] = task.task_id;
    if (details) details["orchestrator_task_id"] = task.task_id;
    try {
      if (task.task_type === "travel_orchestrator") return await this.#travel(task);
      if (task.task_type === "join_clips_orchestrator") return await this.#join(task);
      if (task.task_type === "edit_video_orchestrator") return await this.#edit(task);
      // A model is loaded: the clock begins anew.
      await this.#say(task, { status: "In Progress", reset_generation_started_at: true });
      await this.transport.once("update-worker-model", {
        worker_id: this.id,
        model: String(task.params["model_name"] ?? "wan"),
      });
      this.#options.generate?.(task);
      if (task.task_type === "join_clips_segment" && task.params["transition_only"] === true) {
        return await this.#finishTransition(task);
      }
      await this.#inputs(task);
      await this.#finishWithFile(task);
    } catch (error) {
      assert.ok(error instanceof Error);
      if (error instanceof assert.AssertionError) throw error;
      if (error instanceof Completed) return;
      await this.#giveUp(task, error.message);
    }
  }

  async #inputs(task: Task): Promise<void> {
    if (task.task_type === "travel_stitch") {
      const { body } = await this.transport.once("get-completed-segments", {
        run_id: task.params["orchestrator_run_id"],
        project_id: task.project_id,
      });
      const segments = body as { segment_index: number; output_location: string }[];
      assert.ok(Array.isArray(segments));
      assert.equal(segments.length, task.params["num_total_segments_generated"]);
      for (const [index, segment] of segments.entries()) {
        assert.equal(segment.segment_index, index);
        await this.transport.fetchInput(segment.output_location);
      }
    }
    if (task.task_type === "join_clips_segment" && !task.params["starting_video_path"]) {
      const { body } = await this.transport.once("get-predecessor-output", { task_id: task.task_id });
      const predecessor = body as { predecessor_id: string; output_location: string };
      await this.transport.fetchInput(predecessor.output_location);
    }
    if (task.task_type === "join_final_stitch") {
      for (const id of (task.params["transition_task_ids"] as string[] | undefined) ?? []) {
        const output = await this.#output(id);
        const text = output.output_location ?? "";
        const transition =
          task.params["chain_mode"] === true ? { transition_url: text } : (JSON.parse(text) as Params);
        await this.transport.fetchInput(transition["transition_url"] as string);
      }
    }
  }

  // Orchestrators

  async #travel(task: Task): Promise<void> {
    const details = task.params["orchestrator_details"] as Params;
    const runId = (details["run_id"] as string | undefined) ?? task.task_id;
    const count = details["num_new_segments_to_generate"] as number;
    const children = await this.#children(task.task_id);
    if (await this.#waits(task, children)) return;
    if (children.length > 0) return await this.#concludeTravel(task, children);

    const isChained =
      (details["model_type"] ?? "vace") === "vace" &&
      details["chain_segments"] !== false &&
      details["independent_segments"] !== true;
    const common = {
      orchestrator_task_id_ref: task.task_id,
      orchestrator_run_id: runId,
      project_id: task.project_id,
      parent_generation_id: details["parent_generation_id"] ?? null,
      orchestrator_details: details,
    };
    const segments: string[] = [];
    for (let index = 0; index < count; index++) {
      const id = await this.#create(
        task,
        "travel_segment",
        {
          ...common,
          segment_index: index,
          child_order: index,
          is_first_segment: index === 0,
          is_last_segment: index === count - 1,
          is_single_item: count === 1,
          base_prompt: (details["base_prompts_expanded"] as string[])[index],
          negative_prompt: "",
          segment_frames_target: (details["segment_frames_expanded"] as number[])[index],
          frame_overlap_from_previous: 0,
          frame_overlap_with_next: 0,
          parsed_resolution_wh: details["parsed_resolution_wh"],
          model_name: details["model_name"],
          seed_to_use: 12_345 + index,
          structure_guidance: null,
          use_svi: false,
        },
        isChained ? segments.at(-1) : undefined,
      );
      if (!id) return;
      segments.push(id);
    }
    if (isChained) {
      await this.#create(
        task,
        "travel_stitch",
        {
          ...common,
          num_total_segments_generated: count,
          frame_overlap_settings_expanded: details["frame_overlap_expanded"],
          fps_final_video: 16,
          crossfade_sharp_amt: 0.3,
          upscale_factor: 0,
          final_stitched_output_path: "out.mp4",
        },
        segments.at(-1),
      );
    }
    if (details["stitch_config"]) {
      // Only details; its references lie within them.
      await this.#create(
        task,
        "join_clips_orchestrator",
        {
          orchestrator_details: {
            ...(details["stitch_config"] as Params),
            orchestrator_task_id_ref: task.task_id,
            orchestrator_run_id: runId,
            run_id: `${runId}_join`,
            project_id: task.project_id,
            segment_task_ids: segments,
            context_frame_count: 12,
            gap_frame_count: 19,
            replace_mode: true,
            use_parallel_joins: true,
          },
        },
        segments,
        "default_project_id",
      );
    }
    await this.#say(task, { status: "In Progress", output_location: `Created ${count} segments` });
  }

  /** Run again while its children run, an orchestrator creates nothing and says how far they are. */
  async #waits(task: Task, children: Child[]): Promise<boolean> {
    const open = children.filter(({ status }) => !terminal.includes(status.toLowerCase())).length;
    if (open === 0) return false;
    const text = `${children.length - open}/${children.length} complete`;
    await this.#say(task, { status: "In Progress", output_location: text });
    return true;
  }

  async #concludeTravel(task: Task, children: Child[]): Promise<void> {
    if (children.some(({ status }) => /^(failed|cancelled)$/i.test(status))) {
      return await this.#fail(task, "a child failed");
    }
    const last = ["join_clips_orchestrator", "travel_stitch", "travel_segment"]
      .map((type) => children.filter((child) => child.task_type === type).at(-1))
      .find((child) => child !== undefined);
    await this.#finishWithText(task, last?.output_location ?? "Completed via idempotency");
  }

  async #join(task: Task): Promise<void> {
    const details = task.params["orchestrator_details"] as Params;
    const children = await this.#children(task.task_id);
    if (await this.#waits(task, children)) return;
    if (children.length > 0) {
      const stitch = children.find(({ task_type }) => task_type === "join_final_stitch") ?? children.at(-1);
      return await this.#finishWithText(task, stitch?.output_location ?? "Completed via idempotency");
    }
    let clips = ((details["clip_list"] as { url: string }[] | undefined) ?? []).map(({ url }) => url);
    if (clips.length === 0) {
      for (const id of details["segment_task_ids"] as string[]) {
        clips.push((await this.#output(id)).output_location ?? "");
      }
    }
    clips = clips.filter((clip) => clip !== "");
    assert.ok(clips.length >= 2, "there are clips to join");
    const isParallel = details["use_parallel_joins"] !== false;
    await this.#createJoins(task, details, clips, isParallel);
  }

  async #edit(task: Task): Promise<void> {
    const details = task.params["orchestrator_details"] as Params;
    const children = await this.#children(task.task_id);
    if (await this.#waits(task, children)) return;
    if (children.length > 0)
      return await this.#finishWithText(
        task,
        children.at(-1)?.output_location ?? "Completed via idempotency",
      );
    const source = details["source_video_url"] as string;
    await this.transport.fetchInput(source);
    // The kept pieces of the source, as clips; always the chain.
    const clips: string[] = [];
    const portions = details["portions_to_regenerate"] as unknown[];
    for (let piece = 0; piece <= portions.length; piece++) {
      clips.push(
        await this.transport.intermediate(task.task_id, `piece_${piece}.mp4`, film({ bytes: 1000 + piece })),
      );
    }
    await this.#createJoins(task, details, clips, false);
  }

  async #createJoins(task: Task, details: Params, clips: string[], isParallel: boolean): Promise<void> {
    const common = {
      orchestrator_task_id_ref: task.task_id,
      orchestrator_run_id: details["run_id"],
      project_id: task.project_id,
      parent_generation_id: details["parent_generation_id"] ?? null,
      skip_generation: true,
      orchestrator_details: details,
    };
    const joins: string[] = [];
    for (let index = 0; index < clips.length - 1; index++) {
      const id = await this.#create(
        task,
        "join_clips_segment",
        {
          ...common,
          join_index: index,
          child_order: index,
          is_first_join: !isParallel && index === 0,
          is_last_join: !isParallel && index === clips.length - 2,
          starting_video_path: isParallel || index === 0 ? clips[index] : null,
          ending_video_path: clips[index + 1],
          ...(isParallel && { transition_only: true, transition_index: index }),
        },
        isParallel ? undefined : joins.at(-1),
      );
      if (!id) return;
      joins.push(id);
    }
    await this.#create(
      task,
      "join_final_stitch",
      {
        ...common,
        clip_list: clips.map((url) => ({ url })),
        transition_task_ids: isParallel ? joins : [joins.at(-1)],
        chain_mode: !isParallel,
        blend_frames: 15,
        fps: 16,
      },
      isParallel ? joins : joins.at(-1),
    );
    await this.#say(task, {
      status: "In Progress",
      output_location: `Parallel: 0/${joins.length} transitions complete, stitch: pending`,
    });
  }

  /** A child with the looks around it; undefined when the orchestrator was cancelled, and then so are its children. */
  async #create(
    orchestrator: Task,
    taskType: string,
    params: Params,
    dependantOn?: string | string[],
    projectId: string | null = orchestrator.project_id,
  ): Promise<string | undefined> {
    if (!this.#isOlder && (await this.#isCancelled(orchestrator))) return undefined;
    const dependencies = dependantOn === undefined ? [] : [dependantOn].flat();
    for (const dependency of dependencies) {
      const found = await this.transport.rest("GET", `tasks?select=id&id=eq.${dependency}`, undefined, {
        accept: "application/vnd.pgrst.object+json",
      });
      // With the anonymous key there are no rows to be seen; it goes on all the same.
      assert.equal(found.status, this.#isOlder ? 406 : 200, found.text);
    }
    const id = randomUUID();
    const request = {
      task_id: id,
      params,
      task_type: taskType,
      project_id: projectId ?? "default_project_id",
      dependant_on: this.#isOlder
        ? (dependencies[0] ?? null)
        : dependantOn === undefined
          ? null
          : dependencies,
    };
    await this.transport.repeated("create-task", request, { id });
    const readBack = await this.transport.rest("GET", `tasks?select=id,status&id=eq.${id}`, undefined, {
      accept: "application/vnd.pgrst.object+json",
    });
    if (!this.#isOlder) {
      assert.equal(readBack.status, 200, readBack.text);
      const output = await this.#output(id);
      assert.deepEqual(output.dependant_on ?? [], dependencies);
    }
    // A repeat of what was carried out already is answered the same.
    const again = await this.transport.once("create-task", request);
    assert.equal(again.status, 200, again.text);
    return id;
  }

  /** Asked before each child is created; then its children end too. */
  async #isCancelled(orchestrator: Task): Promise<boolean> {
    const { body } = await this.transport.repeated(
      "get-task-status",
      { task_id: orchestrator.task_id },
      { id: orchestrator.task_id, tries: 2 },
    );
    if (!/^cancell?ed$/i.test((body as { status: string }).status)) return false;
    for (const child of await this.#children(orchestrator.task_id)) {
      if (terminal.includes(child.status.toLowerCase())) continue;
      await this.#say(
        { ...orchestrator, task_id: child.id },
        { status: "Cancelled", output_location: "Orchestrator cancelled by user" },
      );
    }
    return true;
  }

  async #children(id: string): Promise<Child[]> {
    if (this.#isOlder) {
      const reference = encodeURIComponent(JSON.stringify({ orchestrator_task_id_ref: id }));
      const found = await this.transport.rest(
        "GET",
        `tasks?select=id,task_type,status,params,output_location&params=cs.${reference}`,
      );
      return found.status === 200 ? (found.body as Child[]) : [];
    }
    const { body } = await this.transport.repeated(
      "get-orchestrator-children",
      { orchestrator_task_id: id },
      { id },
    );
    const { tasks } = body as { tasks: Child[] };
    for (const child of tasks) {
      assert.equal(typeof child.status, "string");
      assert.equal(typeof child.params, "object");
    }
    return tasks;
  }

  async #output(
    id: string,
  ): Promise<{ status: string; output_location: string | null; dependant_on: string[] | null }> {
    const { body } = await this.transport.repeated("get-task-output", { task_id: id }, { id });
    return body as { status: string; output_location: string | null; dependant_on: string[] | null };
  }

  // Ends

  /** What was made, inline below 2 MiB, by signed URLs from there on; and once more, for an answer may be lost. */
  async #finishWithFile(task: Task): Promise<string> {
    const isImage = imageTypes.test(task.task_type);
    const size =
      this.#options.sizeOf?.(task) ?? (task.task_type.endsWith("stitch") ? inlineBytes + 100_000 : 4000);
    const bytes = isImage ? png() : film({ bytes: size });
    const filename = `${task.task_id}_output.${isImage ? "png" : "mp4"}`;
    const body =
      bytes.byteLength < inlineBytes
        ? this.#inline(task, bytes, filename, isImage)
        : await this.#upload(task, bytes, filename);
    try {
      const first = await this.transport.repeated("complete_task", body, { id: task.task_id });
      const again = await this.transport.once("complete_task", body);
      assert.deepEqual(again.body, first.body);
      const { public_url } = first.body as { public_url: string };
      assert.ok(public_url.includes("/storage/v1/object/public/image_uploads/"));
      return public_url;
    } catch (error) {
      if (!(error instanceof EdgeFailure)) throw error;
      // Not weighed like other failures.
      await this.#fail(task, `Upload failed: ${error.message}`);
      throw new Completed();
    }
  }

  #inline(task: Task, bytes: Uint8Array, filename: string, isImage: boolean): Params {
    const base64 = (data: Uint8Array) => Buffer.from(data).toString("base64");
    return {
      task_id: task.task_id,
      file_data: base64(bytes),
      filename,
      ...(!isImage && {
        first_frame_data: base64(png({ colour: 0x11_22_33 })),
        first_frame_filename: `thumb_${task.task_id.slice(0, 8)}.jpg`,
      }),
    };
  }

  async #upload(task: Task, bytes: Uint8Array, filename: string): Promise<Params> {
    const { body } = await this.transport.repeated(
      "generate-upload-url",
      { task_id: task.task_id, filename, content_type: "video/mp4", generate_thumbnail_url: true },
      { id: task.task_id },
    );
    const { upload_url, storage_path, thumbnail_upload_url, thumbnail_storage_path } = body as UploadUrls;
    assert.ok(upload_url?.startsWith("http") && storage_path);
    assert.ok(thumbnail_upload_url && thumbnail_storage_path);
    const uploads: [string, Uint8Array, string][] = [
      [thumbnail_upload_url, png(), "image/jpeg"],
      [upload_url, bytes, "video/mp4"],
      // As after a lost answer: the same URL takes the file twice.
      [upload_url, bytes, "video/mp4"],
    ];
    for (const [url, content, type] of uploads) {
      assert.ok([200, 201].includes(await this.transport.put(url, content, type)));
    }
    return {
      task_id: task.task_id,
      storage_path,
      thumbnail_storage_path,
    };
  }

  /** A transition: its film by reference, then the JSON that the stitch reads, written over the output's text. */
  async #finishTransition(task: Task): Promise<void> {
    const url = await this.transport.intermediate(
      task.task_id,
      `transition_${task.task_id}.mp4`,
      film({ bytes: 3000 }),
    );
    const output = JSON.stringify({ transition_url: url, frames: 20, gap_frames: 19, blend_frames: 15 });
    const path = url.slice(this.transport.mediaMarker.length);
    await this.transport.repeated(
      "complete_task",
      { task_id: task.task_id, storage_path: path },
      { id: task.task_id },
    );
    await this.transport.repeated(
      "update-task-status",
      { task_id: task.task_id, status: "Complete", output_location: output },
      { id: task.task_id, tries: 2 },
    );
  }

  /** The output's text decides: a file of ours is passed on, anything else is text. */
  async #finishWithText(task: Task, text: string): Promise<void> {
    const at = text.indexOf("/storage/v1/object/public/image_uploads/");
    const body =
      at >= 0
        ? {
            task_id: task.task_id,
            storage_path: text.slice(at + "/storage/v1/object/public/image_uploads/".length),
          }
        : { task_id: task.task_id, output_location: text };
    try {
      await this.transport.repeated("complete_task", body, { id: task.task_id });
    } catch (error) {
      if (!(error instanceof EdgeFailure)) throw error;
      await this.#fail(task, `Upload failed: ${error.message}`);
    }
  }

  async #giveUp(task: Task, message: string): Promise<void> {
    const limit = /No output generated|Generation produced no output/.test(message) ? 2 : 3;
    const isTransient =
      /No output generated|Generation produced no output|\[EDGE_FAIL:.*:(HTTP_500|5XX_TRANSIENT|TIMEOUT|NETWORK)\]|ConnectionError|timed out/.test(
        message,
      );
    const attempts = task.attempts ?? 0;
    if (isTransient && attempts < limit) {
      const reply = await this.#say(task, {
        status: "Queued",
        attempts: attempts + 1,
        error_details: `Retry ${attempts + 1} (transient): ${message}`,
        clear_worker: true,
      });
      if (reply.status !== 200) await this.requeueOverRest(task, message);
      return;
    }
    await this.#fail(task, message);
  }

  /** Where the function refuses, and when the machine is about to die. */
  async requeueOverRest(task: Task, message: string): Promise<Reply> {
    return await this.transport.rest(
      "PATCH",
      `tasks?id=eq.${task.task_id}&worker_id=eq.${this.id}&status=eq.In%20Progress`,
      {
        status: "Queued",
        worker_id: null,
        attempts: (task.attempts ?? 0) + 1,
        error_details: message,
        generation_started_at: null,
      },
    );
  }

  /** The driver is lost: the worker takes itself out, and puts back what it has. */
  async dieOf(task: Task, reason: string): Promise<void> {
    const worker = await this.transport.rest(
      "GET",
      `workers?select=id,metadata&id=eq.${this.id}`,
      undefined,
      {
        accept: "application/vnd.pgrst.object+json",
      },
    );
    assert.equal(worker.status, 200, worker.text);
    const { metadata } = worker.body as { metadata: Params };
    const requeued = await this.requeueOverRest(task, reason);
    assert.equal(requeued.status, 200, requeued.text);
    const marked = await this.transport.rest("PATCH", `workers?id=eq.${this.id}`, {
      status: "error",
      metadata: {
        ...metadata,
        error_reason: reason,
        error_time: new Date().toISOString(),
        self_terminated: true,
      },
    });
    assert.equal(marked.status, 200, marked.text);
    await this.transport.beat(this.id, "crashed");
  }

  async #fail(task: Task, error: string): Promise<void> {
    await this.#say(task, { status: "Failed", output_location: error });
  }

  /** Only the status counts; a refusal is logged and the worker goes on. */
  async #say(task: Task, report: Params): Promise<Reply> {
    try {
      return await this.transport.repeated(
        "update-task-status",
        { task_id: task.task_id, ...report },
        { id: task.task_id },
      );
    } catch (error) {
      if (error instanceof EdgeFailure) return { status: 400, text: error.message, body: undefined };
      throw error;
    }
  }
}

/** A completion was refused, and reported; nothing is left to do. */
class Completed extends Error {}
