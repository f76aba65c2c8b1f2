import assert from "node:assert/strict";
import type { HostUnderTest } from "../hosts.ts";
import { png } from "../png.ts";

interface ApiTask {
  task_id: string;
  task_type: string;
  params: Record<string, unknown>;
}

export interface Vendor {
  /** What the vendor made; its URL alone where download or upload fail. */
  make(task: ApiTask): { bytes: Uint8Array; filename: string } | { url: string };
}

const inlineBytes = 2 * 1024 * 1024;

/** The shipped API worker as a backend sees it: counts, claims, direct uploads, completions; no heartbeat, no retries. */
export class ShippedApiWorker {
  readonly #host: HostUnderTest;
  readonly #vendor: Vendor;

  constructor(host: HostUnderTest, vendor: Vendor) {
    this.#host = host;
    this.#vendor = vendor;
  }

  /** One round of the parent's loop: the counts, then claims until there is nothing; answers what was completed. */
  async round(): Promise<{ task: ApiTask; location: string }[]> {
    const counts = (await this.#call("task-counts", { include_active: false, run_type: "api" })) as {
      totals: { queued_only: number };
    };
    const done: { task: ApiTask; location: string }[] = [];
    if (counts.totals.queued_only === 0) return done;
    for (;;) {
      const task = await this.#claim();
      if (!task) return done;
      done.push({ task, location: await this.#run(task) });
    }
  }

  async #run(task: ApiTask): Promise<string> {
    if (task.task_type === "image_inpaint") await this.#uploadComposite(task);
    const made = this.#vendor.make(task);
    let body: Record<string, unknown>;
    if ("url" in made) {
      body = { task_id: task.task_id, output_location: made.url };
    } else if (made.bytes.byteLength < inlineBytes) {
      const isVideo = made.filename.endsWith(".mp4");
      body = {
        task_id: task.task_id,
        file_data: Buffer.from(made.bytes).toString("base64"),
        filename: made.filename,
        ...(isVideo && {
          first_frame_data: Buffer.from(png()).toString("base64"),
          first_frame_filename: `${made.filename.replace(/\.\w+$/, "")}_screenshot.png`,
        }),
      };
    } else {
      body = { task_id: task.task_id, storage_path: await this.#upload(task, made) };
    }
    const answer = (await this.#call("complete_task", body)) as {
      public_url?: string;
      output_location?: string;
    };
    const location = answer.public_url ?? answer.output_location;
    assert.ok(location, "one of them says where the output is");
    return location;
  }

  async #upload(
    task: ApiTask,
    { bytes, filename }: { bytes: Uint8Array; filename: string },
  ): Promise<string> {
    const { upload_url, storage_path } = (await this.#call("generate-upload-url", {
      task_id: task.task_id,
      filename,
      content_type: "video/mp4",
      generate_thumbnail_url: false,
    })) as { upload_url: string; storage_path: string };
    const response = await fetch(upload_url, {
      method: "PUT",
      headers: { "content-type": "video/mp4", "x-upsert": "true" },
      body: bytes as BodyInit,
    });
    assert.ok([200, 201].includes(response.status), await response.text());
    return storage_path;
  }

  /** Image and mask in one, straight into the bucket; the vendor fetches it bare. */
  async #uploadComposite(task: ApiTask): Promise<void> {
    const { apiUrl, keys } = this.#host;
    const path = `image_uploads/task_outputs/composite_${task.task_id}.png`;
    const response = await fetch(`${apiUrl}/storage/v1/object/${path}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${keys.serviceRoleKey}`,
        "content-type": "image/png",
        "x-upsert": "true",
      },
      body: png() as BodyInit,
    });
    assert.ok([200, 201].includes(response.status), await response.text());
    const fetched = await fetch(`${apiUrl}/storage/v1/object/public/${path}`);
    assert.equal(fetched.headers.get("content-type"), "image/png");
    await fetched.body?.cancel();
  }

  async #claim(): Promise<ApiTask | undefined> {
    const response = await this.#send("claim-next-task", { worker_id: "api-worker-main", run_type: "api" });
    if (response.status === 204) return undefined;
    assert.equal(response.status, 200);
    return (await response.json()) as ApiTask;
  }

  async #call(name: string, body: unknown): Promise<unknown> {
    const response = await this.#send(name, body);
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return JSON.parse(text) as unknown;
  }

  async #send(name: string, body: unknown): Promise<Response> {
    const { apiUrl, keys } = this.#host;
    return await fetch(`${apiUrl}/functions/v1/${name}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${keys.serviceRoleKey}` },
      body: JSON.stringify(body),
    });
  }
}
