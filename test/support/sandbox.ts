import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { DarkroomClient } from "../../supabase/functions/_shared/worker/client.ts";
import type { Provider } from "../../supabase/functions/_shared/worker/provider.ts";
import { createSandboxProvider, type SandboxOptions } from "../../worker/sandbox/provider.ts";
import { createWorker, type Worker } from "../../supabase/functions/_shared/worker/worker.ts";
import { invoke, succeed } from "./calls.ts";
import type { HostUnderTest } from "./hosts.ts";
import { type Row, type Studio, taskOf } from "./studio.ts";

const silent = { info: () => undefined, warn: () => undefined };

/** The sandbox beside a host that has no worker of its own. */
export class SandboxUnderTest {
  readonly host: HostUnderTest;
  readonly provider;

  private constructor(host: HostUnderTest, options: SandboxOptions) {
    this.host = host;
    this.provider = createSandboxProvider(options);
  }

  /** Hosts under test have a key of FAL; without it the sandbox may run every type. */
  static async beside(host: HostUnderTest, options: SandboxOptions = {}): Promise<SandboxUnderTest> {
    await host.sql`update queue_settings set fal_is_configured = false`;
    return new SandboxUnderTest(host, options);
  }

  async close(): Promise<void> {
    await this.provider.close();
    await this.host.stop();
  }

  /** A worker with one lane, so that an orchestrator which held it would wait for ever. */
  startWorker(provider: Provider = this.provider, workerId = `sandbox-${randomUUID()}`): Worker {
    const { apiUrl, keys } = this.host;
    const client = new DarkroomClient({ url: apiUrl, token: keys.serviceRoleKey, workerId });
    const worker = createWorker({ client, providers: [provider], log: silent, concurrency: 1 });
    void worker.run();
    return worker;
  }

  /** Runs tasks to their ends; their rows. */
  async run(studio: Studio, ...ids: string[]): Promise<Row[]> {
    const worker = this.startWorker();
    try {
      for (const id of ids) await ended(studio, id);
    } finally {
      await worker.stop();
    }
    return await Promise.all(ids.map((id) => taskOf(studio, id)));
  }
}

/** A travel of three segments through four pictures that cannot be had. */
export function travelDetails(more: Row): Row {
  return {
    // Small, so that films take little time.
    parsed_resolution_wh: "96x64",
    run_id: randomUUID(),
    model_name: "wan_2_2_vace",
    num_new_segments_to_generate: 3,
    segment_frames_expanded: [9, 9, 9],
    base_prompts_expanded: ["a fox", "a heron", "a lamp"],
    negative_prompts_expanded: ["", "", ""],
    frame_overlap_expanded: [2, 2],
    input_image_paths_resolved: [1, 2, 3, 4].map((index) => `https://media.example/${index}.png`),
    seed_base: 7,
    ...more,
  };
}

/** Waits for the end of a task. */
export async function ended(studio: Studio, task_id: string): Promise<void> {
  const question = { task_id, while_status: ["Queued", "In Progress"], wait_seconds: 50 };
  for (let asked = 0; asked < 4; asked++) {
    const { status } = await succeed(invoke<{ status: string }>(studio, "get-task-status", question));
    if (status !== "Queued" && status !== "In Progress") return;
  }
  throw new Error(`${task_id} does not end: ${JSON.stringify(await taskOf(studio, task_id))}`);
}

/** A file of the user's own, put into their folder by the browser; its public URL. */
export async function uploaded({ client, userId }: Studio, bytes: Uint8Array, type: string): Promise<string> {
  const path = `${userId}/uploads/${randomUUID()}.png`;
  const bucket = client.storage.from("image_uploads");
  const { error } = await bucket.upload(path, new Blob([bytes as BlobPart], { type }));
  assert.equal(error, null);
  return bucket.getPublicUrl(path).data.publicUrl;
}

export async function assertHealthy({ sql }: HostUnderTest): Promise<void> {
  const [row] = await sql<{ found: { healthy: boolean; faults: unknown[] } }[]>`select doctor() as found`;
  assert.deepEqual([row?.found.healthy, row?.found.faults], [true, []]);
}
