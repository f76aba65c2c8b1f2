import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { type ClaimedTask, DarkroomApiError, DarkroomClient } from "./client.ts";
import { type Provider, ProviderUnusable, RenderError } from "./provider.ts";
import { createSandboxProvider } from "../../../../worker/sandbox/provider.ts";
import { createWorker, type Worker } from "./worker.ts";

interface Call {
  name: string;
  body: Record<string, unknown>;
}

type Answer = { status: number; body?: unknown; headers?: Record<string, string> };

/** A server that speaks the worker's part of Darkroom: gives its tasks out once, and answers as told. */
class FakeDarkroom {
  readonly calls: Call[] = [];
  readonly puts: { path: string; bytes: number }[] = [];
  readonly reads: string[] = [];
  readonly #server: Server;
  readonly #tasks: ClaimedTask[];
  readonly #answer: (call: Call) => Promise<Answer | undefined> | Answer | undefined;
  /** How a PUT ends: its status, perhaps later. */
  receive: (path: string) => number | Promise<number> = () => 200;
  #waiting: { until: (call: Call) => boolean; resolve: () => void }[] = [];

  constructor(
    tasks: ClaimedTask[],
    answer: (call: Call) => Promise<Answer | undefined> | Answer | undefined = () => undefined,
  ) {
    this.#tasks = [...tasks];
    this.#answer = answer;
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", async () => {
        const { status, body, headers } = await this.#respond(
          request.method ?? "",
          request.url ?? "",
          Buffer.concat(chunks),
        );
        response.writeHead(status, { "content-type": "application/json", ...headers });
        response.end(body === undefined ? undefined : JSON.stringify(body));
      });
    });
  }

  async start(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return this.url;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Resolves when such a call has been answered. */
  seen(until: (call: Call) => boolean): Promise<void> {
    if (this.calls.some(until)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ until, resolve }));
  }

  named(name: string): Call[] {
    return this.calls.filter((call) => call.name === name);
  }

  async #respond(method: string, url: string, bytes: Buffer): Promise<Answer> {
    if (method === "GET") {
      this.reads.push(url);
      return { status: url.endsWith("/fox.png") ? 200 : 404, body: "fox" };
    }
    if (method === "PUT") {
      this.puts.push({ path: url, bytes: bytes.length });
      return { status: await this.receive(url), body: {} };
    }
    const call = {
      name: url.split("/").at(-1) ?? "",
      body: JSON.parse(bytes.toString()) as Record<string, unknown>,
    };
    this.calls.push(call);
    const answer = (await this.#answer(call)) ?? this.#usual(call);
    queueMicrotask(() => {
      for (const waiting of this.#waiting.filter(({ until }) => until(call))) waiting.resolve();
      this.#waiting = this.#waiting.filter(({ until }) => !until(call));
    });
    return answer;
  }

  #usual({ name }: Call): Answer {
    if (name === "claim-next-task") {
      const task = this.#tasks.shift();
      return task ? { status: 200, body: task } : { status: 204 };
    }
    if (name === "generate-upload-url") {
      return {
        status: 200,
        body: {
          upload_url: `${this.url}/put/file`,
          storage_path: "u/tasks/t/1-file.png",
          thumbnail_upload_url: `${this.url}/put/thumbnail`,
          thumbnail_storage_path: "u/tasks/t/thumbnails/1-file.png",
        },
      };
    }
    return { status: 200, body: { success: true, public_url: "https://media.example/x.png" } };
  }
}

const task: ClaimedTask = {
  task_id: "11111111-2222-4333-8444-555555555555",
  task_type: "z_image_turbo",
  project_id: "99999999-2222-4333-8444-555555555555",
  params: { prompt: "a fox", seed: 1, resolution: "64x64" },
  attempt: 3,
  attempts: 2,
  lease_expires_at: new Date().toISOString(),
};
const output = { file: { bytes: new Uint8Array(10), filename: "x.png", contentType: "image/png" } };
const log = { info: () => undefined, warn: () => undefined };

/** Runs a worker against a server until `ready`, then stops both. */
async function working(
  server: FakeDarkroom,
  provider: Provider,
  ready: (worker: Worker) => Promise<void>,
): Promise<void> {
  const url = await server.start();
  const client = new DarkroomClient({ url, token: "secret", workerId: "w" });
  const worker = createWorker({
    client,
    providers: [provider],
    log,
    pollSeconds: 0.01,
    heartbeatSeconds: 0.05,
    stopGraceSeconds: 0.2,
  });
  const running = worker.run();
  try {
    await ready(worker);
  } finally {
    await worker.stop();
    await running;
    server.stop();
  }
}

function provides(run: Provider["run"]): Provider {
  return { name: "test", taskTypes: ["z_image_turbo"], run };
}

test("a worker claims what its provider can do, reports progress, and completes with its attempt and name", async () => {
  const server = new FakeDarkroom([task]);
  const sandbox = createSandboxProvider();
  await working(server, sandbox, () => server.seen(({ name }) => name === "complete_task"));
  await sandbox.close();

  const [claim] = server.named("claim-next-task");
  assert.equal(claim?.body["worker_id"], "w");
  assert.ok((claim?.body["task_types"] as string[] | undefined)?.includes("z_image_turbo"));
  const [progress] = server.named("update-task-status");
  assert.equal(progress?.body["status"], "In Progress");
  assert.equal(progress?.body["progress"], 0.1);
  const [completed] = server.named("complete_task");
  const { task_id, attempt, worker_id, filename } = completed?.body ?? {};
  assert.deepEqual(
    { task_id, attempt, worker_id, filename },
    { task_id: task.task_id, attempt: 3, worker_id: "w", filename: `${task.task_id}_sandbox.png` },
  );
  const png = Buffer.from(completed?.body["file_data"] as string, "base64");
  assert.equal(png.subarray(1, 4).toString(), "PNG");
});

test("a large output goes by upload URL", async () => {
  const server = new FakeDarkroom([task]);
  const large = { file: { ...output.file, bytes: new Uint8Array(3 * 1024 * 1024) } };
  await working(
    server,
    provides(() => Promise.resolve(large)),
    () => server.seen(({ name }) => name === "complete_task"),
  );

  assert.deepEqual(server.puts, [{ path: "/put/file", bytes: 3 * 1024 * 1024 }]);
  assert.equal(server.named("complete_task")[0]?.body["storage_path"], "u/tasks/t/1-file.png");
});

test("a long upload keeps its lease: heartbeats go on while it lasts", async () => {
  const server = new FakeDarkroom([task]);
  const large = { file: { ...output.file, bytes: new Uint8Array(3 * 1024 * 1024) } };
  server.receive = async () => {
    const before = server.named("worker-heartbeat").length;
    await server.seen(() => server.named("worker-heartbeat").length >= before + 2);
    return 200;
  };
  await working(
    server,
    provides(() => Promise.resolve(large)),
    () => server.seen(({ name }) => name === "complete_task"),
  );
  const uploading = server.calls.filter(
    ({ name }, index) =>
      name === "worker-heartbeat" &&
      index > server.calls.findIndex((call) => call.name === "generate-upload-url") &&
      index < server.calls.findIndex((call) => call.name === "complete_task"),
  );
  assert.ok(uploading.length >= 2);
  for (const { body } of uploading) assert.deepEqual(body["tasks"], [{ task_id: task.task_id, attempt: 3 }]);
});

test("a thumbnail that cannot be stored does not cost the picture", async () => {
  const server = new FakeDarkroom([task]);
  const large = {
    file: { ...output.file, bytes: new Uint8Array(3 * 1024 * 1024) },
    thumbnail: output.file,
  };
  server.receive = (path) => (path === "/put/thumbnail" ? 403 : 200);
  await working(
    server,
    provides(() => Promise.resolve(large)),
    () => server.seen(({ name, body }) => name === "complete_task" || body["status"] === "Queued"),
  );
  const [completed] = server.named("complete_task");
  assert.equal(completed?.body["storage_path"], "u/tasks/t/1-file.png");
  assert.equal(completed?.body["thumbnail_storage_path"], undefined);
});

test("a finished task is completed at once, whatever progress is still unsent", async () => {
  const server = new FakeDarkroom([task]);
  let finishedAt = 0;
  const provider = provides(async (_task, { progress }) => {
    progress(0.1);
    progress(0.5);
    // The render's own time, in which the second progress becomes one that waits for its turn.
    await pause(100);
    finishedAt = performance.now();
    return output;
  });
  await working(server, provider, () => server.seen(({ name }) => name === "complete_task"));
  const milliseconds = performance.now() - finishedAt;
  assert.ok(milliseconds < 400, `completed after ${Math.round(milliseconds)} ms`);
});

test("a refused completion is reported unless the run is over", async () => {
  const server = new FakeDarkroom([task], ({ name }) =>
    name === "complete_task"
      ? { status: 404, body: { error: "output_not_found", message: "", request_id: "r" } }
      : undefined,
  );
  await working(
    server,
    provides(() => Promise.resolve(output)),
    () => server.seen(({ name }) => server.named("complete_task").length > 0 && name === "claim-next-task"),
  );
  const reported = server.named("update-task-status").map(({ body }) => body["status"]);
  assert.ok(reported.includes("Queued") || reported.includes("Failed"), reported.join());
});

test("a worker whose credentials are refused ends and says so", { timeout: 5_000 }, async () => {
  const server = new FakeDarkroom([], () => ({
    status: 401,
    body: { error: "unauthenticated", message: "No valid credentials were sent.", request_id: "r" },
  }));
  const url = await server.start();
  const client = new DarkroomClient({ url, token: "old", workerId: "w" });
  const worker = createWorker({
    client,
    providers: [provides(() => Promise.resolve(output))],
    log,
    pollSeconds: 0.01,
    concurrency: 2,
  });
  const ended = worker.run();
  ended.catch(() => undefined);
  try {
    const slow = server.seen(() => server.calls.length > 10);
    const first = await Promise.race([ended.catch((error: unknown) => error), slow]);
    assert.ok(first instanceof DarkroomApiError, "it goes on claiming");
    assert.equal(first.code, "unauthenticated");
  } finally {
    await worker.stop();
    server.stop();
  }
});

test("a completion is repeated while the server is overloaded", async () => {
  let refusals = 2;
  const server = new FakeDarkroom([task], ({ name }) =>
    name === "complete_task" && refusals-- > 0
      ? { status: 503, headers: { "retry-after": "0" }, body: {} }
      : undefined,
  );
  await working(
    server,
    provides(() => Promise.resolve(output)),
    () => server.seen(() => server.named("complete_task").length === 3),
  );
  assert.equal(
    server.named("update-task-status").filter(({ body }) => body["status"] !== "In Progress").length,
    0,
  );
});

test("a cancelled task is dropped: its render is aborted and nothing more is said about it", async () => {
  const server = new FakeDarkroom([task], ({ name }) =>
    name === "update-task-status"
      ? { status: 409, body: { error: "task_cancelled", message: "", request_id: "r" } }
      : undefined,
  );
  let aborted: Promise<void> | undefined;
  const provider = provides((_task, { signal, progress }) => {
    progress(0.1);
    return new Promise((_resolve, reject) => {
      aborted = once(signal, "abort").then(() => reject(new Error("aborted")));
    });
  });
  await working(server, provider, async () => {
    await server.seen(({ name }) => name === "update-task-status");
    await aborted;
    await server.seen(
      ({ name, body }) => name === "claim-next-task" && body !== server.named("claim-next-task")[0]?.body,
    );
  });
  assert.equal(server.named("complete_task").length, 0);
  assert.deepEqual(
    new Set(server.named("update-task-status").map(({ body }) => body["status"])),
    new Set(["In Progress"]),
  );
});

test("a silent render is kept alive by heartbeats", async () => {
  const server = new FakeDarkroom([task]);
  let finish: ((value: typeof output) => void) | undefined;
  await working(
    server,
    provides(() => new Promise((resolve) => (finish = resolve))),
    async () => {
      await server.seen(() => server.named("worker-heartbeat").filter(namesTask).length >= 3);
      finish?.(output);
      await server.seen(({ name }) => name === "complete_task");
      await server.seen(({ name, body }) => name === "worker-heartbeat" && isLater(body));
    },
  );
  const [first] = server.calls;
  assert.equal(first?.name, "worker-heartbeat", "heard before the first claim, whose lease it makes short");

  /** After the completion there is nothing to keep. */
  function isLater(body: Record<string, unknown>): boolean {
    return server.named("complete_task").length > 0 && (body["tasks"] as unknown[]).length === 0;
  }
});

for (const state of ["cancelled", "stale", "ended", "unknown"]) {
  test(`a run that a heartbeat finds ${state} is dropped: aborted, and nothing more is said about it`, async () => {
    const other = { ...task, task_id: "22222222-2222-4333-8444-555555555555" };
    const server = new FakeDarkroom([task, other], ({ name, body }) =>
      name === "worker-heartbeat"
        ? {
            status: 200,
            body: {
              tasks: (body["tasks"] as { task_id: string }[]).map(({ task_id }) => ({
                task_id,
                state: task_id === task.task_id ? state : "running",
              })),
            },
          }
        : undefined,
    );
    const provider = provides(async ({ task_id }, { signal }) => {
      if (task_id === other.task_id) return output;
      await once(signal, "abort");
      throw new Error("aborted");
    });
    await working(server, provider, () => server.seen(({ name }) => name === "complete_task"));
    assert.deepEqual(
      server.named("complete_task").map(({ body }) => body["task_id"]),
      [other.task_id],
    );
    assert.deepEqual(server.named("update-task-status"), []);
  });
}

test("short leases make heartbeats more frequent than asked for", { timeout: 5_000 }, async () => {
  const server = new FakeDarkroom([task], ({ name }) =>
    name === "worker-heartbeat" ? { status: 200, body: { lease_seconds: 0.03 } } : undefined,
  );
  const url = await server.start();
  const client = new DarkroomClient({ url, token: "secret", workerId: "w" });
  const worker = createWorker({
    client,
    providers: [provides(() => Promise.resolve(output))],
    log,
    pollSeconds: 0.01,
    heartbeatSeconds: 3600,
  });
  const running = worker.run();
  await server.seen(() => server.named("worker-heartbeat").length >= 3);
  await worker.stop();
  await running;
  server.stop();
});

test("a worker works on when no heartbeat is heard", async () => {
  const server = new FakeDarkroom([task], ({ name }) =>
    name === "worker-heartbeat" ? { status: 503, body: {} } : undefined,
  );
  await working(
    server,
    provides(() => Promise.resolve(output)),
    () => server.seen(({ name }) => name === "complete_task"),
  );
});

function namesTask({ body }: Call): boolean {
  return (body["tasks"] as { task_id: string }[]).some(({ task_id }) => task_id === task.task_id);
}

for (const [isRetryable, status] of [
  [true, "Queued"],
  [false, "Failed"],
] as const) {
  test(`a render that fails ${isRetryable ? "for now" : "for good"} is reported as ${status}, and the worker goes on`, async () => {
    const server = new FakeDarkroom([task, { ...task, attempt: 4 }]);
    let runs = 0;
    const provider = provides(() => {
      if (runs++ === 0) return Promise.reject(new RenderError("out of memory", { isRetryable }));
      return Promise.resolve(output);
    });
    await working(server, provider, () => server.seen(({ name }) => name === "complete_task"));

    const [failure] = server
      .named("update-task-status")
      .filter(({ body }) => body["error_details"] !== undefined);
    assert.equal(failure?.body["status"], status);
    assert.equal(failure?.body["error_details"], "out of memory");
    assert.equal(server.named("complete_task")[0]?.body["attempt"], 4);
  });
}

test("a worker that is stopped lets its running task end, and takes no other", async () => {
  const server = new FakeDarkroom([task, { ...task, attempt: 4 }]);
  let finish: (value: typeof output) => void = () => undefined;
  let started: () => void = () => undefined;
  const rendering = new Promise<void>((resolve) => (started = resolve));
  const provider = provides(() => {
    started();
    return new Promise((resolve) => (finish = resolve));
  });
  await working(server, provider, async (worker) => {
    await rendering;
    const stopped = worker.stop();
    finish(output);
    await stopped;
  });

  assert.deepEqual(
    server.named("complete_task").map(({ body }) => body["attempt"]),
    [3],
  );
});

test("what outlasts the grace of a stop is put back into the queue", async () => {
  const server = new FakeDarkroom([task]);
  let started: () => void = () => undefined;
  const rendering = new Promise<void>((resolve) => (started = resolve));
  const provider = provides((_task, { signal }) => {
    started();
    return new Promise((_resolve, reject) =>
      signal.addEventListener("abort", () => reject(new Error("aborted"))),
    );
  });
  await working(server, provider, () => rendering);

  const [requeued] = server.named("update-task-status").filter(({ body }) => body["status"] === "Queued");
  assert.equal(requeued?.body["attempt"], 3);
  const said = server.named("worker-heartbeat").map(({ body }) => body["status"]);
  assert.deepEqual([...new Set(said)], ["active", "terminating", "terminated"]);
  assert.equal(
    server.calls.at(-1)?.body["status"],
    "terminated",
    "the last word, when nothing runs any more",
  );
});

test("a claim waits at the server; one that was held is followed by the next at once, one that was not after a pause", async () => {
  const answered: number[] = [];
  const asked: number[] = [];
  const server = new FakeDarkroom([], async () => {
    asked.push(performance.now());
    if (asked.length <= 2) await pause(450);
    answered.push(performance.now());
    return { status: 204 };
  });
  const client = new DarkroomClient({ url: await server.start(), token: "secret", workerId: "w" });
  const worker = createWorker({
    client,
    providers: [provides(() => Promise.resolve(output))],
    log,
    pollSeconds: 0.4,
  });
  const running = worker.run();
  await server.seen(() => asked.length >= 4);
  await worker.stop();
  await running;
  server.stop();
  assert.equal(server.named("claim-next-task")[0]?.body["wait_seconds"], 25);
  const pauses = asked.slice(1, 4).map((time, number) => time - (answered[number] ?? 0));
  assert.ok((pauses[0] ?? 0) < 250 && (pauses[1] ?? 0) < 250, `${pauses[0]} and ${pauses[1]} ms`);
  assert.ok((pauses[2] ?? 0) > 290, `${pauses[2]} ms`);
});

test("a render is aborted as soon as its run is over, without a report; a server that cannot tell is asked once", async () => {
  for (const [state, isOver] of [
    [{ status: "Cancelled", attempt: 3 }, true],
    [{ status: "In Progress", attempt: 4 }, true],
    [{ status: "In Progress", attempt: 3 }, false],
    [undefined, false],
  ] as const) {
    const server = new FakeDarkroom([task], ({ name }) => {
      if (name !== "get-task-status") return undefined;
      return state ? { status: 200, body: state } : { status: 403, body: { error: "insufficient_scope" } };
    });
    const provider = provides(async (_task, { signal }) => {
      if (isOver) await once(signal, "abort");
      else await server.seen(({ name }) => name === "get-task-status");
      signal.throwIfAborted();
      return output;
    });
    const isSecondClaim = ({ name }: Call) => name === "claim-next-task" && server.named(name).length > 1;
    await working(server, provider, () => server.seen(isSecondClaim));
    const questions = server.named("get-task-status");
    assert.deepEqual(
      questions.map(({ body }) => body),
      [{ task_id: task.task_id, while_status: "In Progress", wait_seconds: 25 }],
    );
    assert.equal(server.named("complete_task").length, isOver ? 0 : 1);
  }
});

test("an orchestrator lets its lane go: it is said what was created, and heartbeats keep it until the server has ended it", async () => {
  const orchestrator = { ...task, task_id: "33333333-2222-4333-8444-555555555555" };
  let hasEnded = false;
  const server = new FakeDarkroom([orchestrator, task], ({ name, body }) =>
    name === "worker-heartbeat"
      ? {
          status: 200,
          body: {
            tasks: (body["tasks"] as { task_id: string }[]).map(({ task_id }) => ({
              task_id,
              state: task_id === orchestrator.task_id && hasEnded ? "ended" : "running",
            })),
          },
        }
      : undefined,
  );
  const keeps = ({ name, body }: Call) =>
    name === "worker-heartbeat" &&
    (body["tasks"] as { task_id: string }[]).some(({ task_id }) => task_id === orchestrator.task_id);
  const provider = provides(({ task_id }) =>
    Promise.resolve(task_id === orchestrator.task_id ? { delegated: "Created 3 segments" } : output),
  );
  await working(server, provider, async () => {
    // The one lane is free for what it created.
    await server.seen(({ name }) => name === "complete_task");
    const kept = server.calls.filter(keeps).length;
    await server.seen(() => server.calls.filter(keeps).length > kept + 2);
    hasEnded = true;
    const told = server.calls.length;
    await server.seen(
      (call) => server.calls.indexOf(call) > told && call.name === "worker-heartbeat" && !keeps(call),
    );
  });
  assert.deepEqual(
    server.named("complete_task").map(({ body }) => body["task_id"]),
    [task.task_id],
  );
  const [said] = server.named("update-task-status");
  assert.deepEqual(said?.body, {
    task_id: orchestrator.task_id,
    attempt: 3,
    worker_id: "w",
    status: "In Progress",
    progress_message: "Created 3 segments",
  });
});

test("more runs than one heartbeat may name are named by several", async () => {
  const many = Array.from({ length: 60 }, (_, index) => ({
    ...task,
    task_id: `${String(index).padStart(8, "0")}-2222-4333-8444-555555555555`,
  }));
  const server = new FakeDarkroom(many);
  const provider = provides(() => Promise.resolve({ delegated: "Created" }));
  const named = (): string[] =>
    server
      .named("worker-heartbeat")
      .flatMap(({ body }) => (body["tasks"] as { task_id: string }[]).map((run) => run.task_id));
  await working(server, provider, () => server.seen(() => new Set(named()).size === many.length));
  for (const { body } of server.named("worker-heartbeat"))
    assert.ok((body["tasks"] as unknown[]).length <= 50);
});

test("media are read from the worker's own host, by their path alone; anything else is not asked for", async () => {
  const server = new FakeDarkroom([]);
  const url = await server.start();
  const client = new DarkroomClient({ url, token: "secret", workerId: "w" });
  const read = (from: string, mostBytes = 100) =>
    client.readMedia(from, mostBytes, new AbortController().signal);
  const media = "/storage/v1/object/public/image_uploads/";
  try {
    for (const from of [`${url}${media}u/fox.png`, `https://elsewhere.example${media}u/fox.png?token=1`]) {
      assert.equal(Buffer.from((await read(from)) ?? []).toString(), '"fox"');
    }
    assert.equal(await read(`${url}${media}u/fox.png`, 3), undefined, "larger than wanted");
    assert.equal(await read(`${url}${media}u/none.png`), undefined);
    const asked = server.reads.length;
    for (const foreign of [
      "https://elsewhere.example/fox.png",
      "http://169.254.169.254/latest/fox.png",
      `file://${media}fox.png`,
      `${url}${media}../../../../../functions/v1/fox.png`,
      `${url}${media}%2e%2e/%2e%2e/private/fox.png`,
      "fox.png",
      "",
    ]) {
      assert.equal(await read(foreign), undefined, foreign);
    }
    assert.equal(server.reads.length, asked);
    assert.ok(server.reads.every((path) => path.startsWith(`${media}u/`)));
  } finally {
    server.stop();
  }
});

test("a provider that takes nothing is asked no more; the task is given back, and a worker without another ends", async () => {
  for (const hasAnother of [false, true]) {
    const server = new FakeDarkroom([task]);
    const refused = provides(() => Promise.reject(new ProviderUnusable("the key is refused")));
    const other = { ...provides(() => Promise.resolve(output)), name: "other", taskTypes: ["single_image"] };
    const client = new DarkroomClient({ url: await server.start(), token: "secret", workerId: "w" });
    const providers = hasAnother ? [refused, other] : [refused];
    const worker = createWorker({ client, providers, log, pollSeconds: 0.01 });
    const running = worker.run();
    if (hasAnother) {
      await server.seen(
        ({ name, body }) => name === "claim-next-task" && isEqual(body["task_types"], ["single_image"]),
      );
      await worker.stop();
      await running;
    } else {
      await assert.rejects(running, /the key is refused/);
    }
    server.stop();
    const [report] = server.named("update-task-status").map(({ body }) => body);
    assert.deepEqual([report?.["status"], report?.["given_back"]], ["Queued", true]);
  }
});

test("a job is noted for the run; one that has ended is forgotten with it, and its further files go along", async () => {
  const job = { provider: "fal", model: "a/b", request_id: "job-1" };
  const failing = new FakeDarkroom([task]);
  const isReport = ({ name, body }: Call) => name === "update-task-status" && body["status"] === "Queued";
  const provider = provides(async (_task, { noteJob }) => {
    await noteJob(job);
    throw new RenderError("the model failed", { isRetryable: true, endsJob: true });
  });
  await working(failing, provider, () => failing.seen(isReport));
  const reports = failing.named("update-task-status").map(({ body }) => body["provider_job"]);
  assert.deepEqual(reports, [job, null]);

  const server = new FakeDarkroom([task]);
  const facts = { seed: 7, has_nsfw_concepts: true };
  const several = provides(() => Promise.resolve({ ...output, facts, more: [{ file: output.file, facts }] }));
  await working(server, several, () => server.seen(({ name }) => name === "complete_task"));
  const [completed] = server.named("complete_task").map(({ body }) => body);
  assert.deepEqual(completed?.["output_facts"], facts);
  assert.deepEqual(completed?.["more_outputs"], [
    { storage_path: "u/tasks/t/1-file.png", output_facts: facts },
  ]);
  assert.equal(server.puts.length, 1);
});

function isEqual(actual: unknown, expected: unknown): boolean {
  return JSON.stringify(actual) === JSON.stringify(expected);
}
