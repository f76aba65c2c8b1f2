import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import {
  type FakeFal,
  type FalFault,
  type FalJob,
  type FalStep,
  pictures,
  startFakeFal,
} from "../../../../../test/support/fake-fal.ts";
import { png } from "../../../../../test/support/png.ts";
import { startReceiver } from "../../../../../test/support/webhooks.ts";
import type { WithdrawalAnswer, WithdrawalRequest } from "../../providers/withdrawals.ts";
import { type ClaimedTask, DarkroomApiError, DarkroomClient, type ProviderJobNote } from "../client.ts";
import { type Provider, ProviderUnusable, type RenderedOutput, RenderError, RunOver } from "../provider.ts";
import { createFalProvider, type FalOptions } from "./provider.ts";
import type { FalRecipe } from "./recipe.ts";

let fal: FakeFal;
beforeEach(async () => {
  fal = await startFakeFal();
});
afterEach(() => fal.close());

const task: ClaimedTask = {
  task_id: "11111111-2222-4333-8444-555555555555",
  task_type: "z_image_turbo",
  project_id: "99999999-2222-4333-8444-555555555555",
  params: { prompt: "a fox" },
  attempt: 1,
  attempts: 0,
  lease_expires_at: new Date().toISOString(),
};
const pace = { pollSeconds: 0.01, longestPollSeconds: 0.01, patienceSeconds: 2 };

function provider(options: Partial<FalOptions> & { variables?: Record<string, string> } = {}): Provider {
  const { variables, ...others } = options;
  return createFalProvider({
    storageUrls: [],
    // Names of inputs lead somewhere public, without a network.
    resolve: (name) => Promise.resolve([name === "127.0.0.1" ? name : "93.184.215.14"]),
    pace,
    ...others,
    variables: { ...fal.variables, ...variables },
  });
}

interface Seen {
  notes: ProviderJobNote[];
  progress: string[];
}

interface RunOptions {
  /** What the server answers of jobs that are to be withdrawn; by default it is away. */
  server?: (request: WithdrawalRequest) => WithdrawalAnswer;
  using?: Provider;
  signal?: AbortSignal;
  seen?: Seen;
  noteJob?: (job: ProviderJobNote) => Promise<void>;
}

async function run(
  claimed: Partial<ClaimedTask> = {},
  { using = provider(), signal, seen = { notes: [], progress: [] }, noteJob, server }: RunOptions = {},
): Promise<RenderedOutput> {
  const output = await using.run(
    { ...task, ...claimed },
    {
      // Of the server this provider asks nothing itself, but for what is to be withdrawn.
      client: new DarkroomClient({
        url: "http://127.0.0.1:9",
        token: "none",
        workerId: "worker",
        tries: 1,
        ...(server && { fetch: answering(server) }),
      }),
      signal: signal ?? new AbortController().signal,
      log: { warn: () => undefined },
      progress: (fraction, message) => void seen.progress.push(`${Math.round(fraction * 100)} ${message}`),
      noteJob: async (job) => {
        await noteJob?.(job);
        seen.notes.push(job);
      },
    },
  );
  assert.ok("file" in output);
  return output;
}

function answering(server: (request: WithdrawalRequest) => WithdrawalAnswer): typeof fetch {
  return (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    assert.match(url, /\/provider-withdrawals$/);
    assert.equal(typeof init?.body, "string");
    return Promise.resolve(Response.json(server(JSON.parse(init?.body as string) as WithdrawalRequest)));
  };
}

/** A server that has kept the latest job to be withdrawn, and hears what became of it. */
function keeping(
  heard: WithdrawalRequest[],
  { knows = true } = {},
): (request: WithdrawalRequest) => WithdrawalAnswer {
  return (request) => {
    heard.push(request);
    const job = fal.jobs.at(-1);
    const given = { withdrawal_id: crypto.randomUUID(), task_id: task.task_id, tries: 1 };
    const withdrawals =
      request.at_most && knows && job ? [{ ...given, model: job.model, request_id: job.requestId }] : [];
    return {
      noted: knows && request.submitted !== undefined,
      settled: request.reports?.length ?? 0,
      withdrawals,
    };
  };
}

/** What a run came to: nothing, or the error. */
async function failureOf(running: Promise<unknown>): Promise<unknown> {
  return await running.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function isRenderError(error: unknown, isRetryable: boolean, endsJob: boolean): RenderError {
  assert.ok(error instanceof RenderError, String((error as Error | undefined)?.stack));
  assert.deepEqual([error.isRetryable, error.endsJob], [isRetryable, endsJob], error.message);
  return error;
}

test("a task is submitted once, followed with position and logs, fetched, and what FAL says of it is kept", async () => {
  const seen: Seen = { notes: [], progress: [] };
  fal.plan = (job) => {
    job.steps = [
      { queue: 2 },
      { logs: ["loading https://secret.example/token=abc", "step 3 of 4,  75% \u0007"] },
      "ended",
    ];
    job.result.body = pictures([fal.file("/files/a.png")], [true]);
  };
  const output = await run({}, { seen });
  const [job] = fal.jobs;
  assert.ok(job && fal.jobs.length === 1);
  assert.deepEqual([job.model, job.input], ["fal-ai/z-image/turbo", { prompt: "a fox" }]);
  assert.deepEqual(seen.notes, [
    {
      provider: "fal",
      model: "fal-ai/z-image/turbo",
      step: 0,
      units: { images: 1, megapixels: 1 },
      completes: true,
    },
    { provider: "fal", model: "fal-ai/z-image/turbo", step: 0, request_id: job.requestId },
  ]);
  assert.deepEqual(seen.progress, [
    "2 FAL: preparing",
    "5 FAL: submitted",
    "5 FAL: in the queue, 2 before it",
    "70 FAL: step 3 of 4, 75%",
    "95 FAL: fetching",
  ]);
  assert.deepEqual(Buffer.from(output.file.bytes), Buffer.from(png()));
  assert.deepEqual(
    [output.file.contentType, output.file.filename, output.facts],
    ["image/png", `${task.task_id}_fal_0.png`, { seed: 4242, has_nsfw_concepts: true }],
  );
  assert.deepEqual(output.more, []);
});

test("all pictures of a job are handed on, each with its flag", async () => {
  fal.plan = (job) => {
    const urls = [1, 2, 3].map((colour) => fal.file(`/files/${colour}.png`, { bytes: png({ colour }) }));
    job.result.body = pictures(urls, [false, true, false]);
  };
  const { file, facts, more = [] } = await run({ params: { prompt: "a", num_images: 3 } });
  const outputs = [{ file, facts }, ...more];
  assert.deepEqual(
    outputs.map((output) => Buffer.from(output.file.bytes)),
    [1, 2, 3].map((colour) => Buffer.from(png({ colour }))),
  );
  assert.deepEqual(
    outputs.map((output) => output.facts?.has_nsfw_concepts),
    [false, true, false],
  );
  assert.equal(new Set(outputs.map((output) => output.file.filename)).size, 3);
});

test("a job that is known is gone on with, and nothing is submitted", async () => {
  await run();
  const [job] = fal.jobs;
  assert.ok(job);
  const began_at = new Date().toISOString();
  const known = { provider: "fal", model: job.model, request_id: job.requestId, began_at };
  const output = await run({ provider_job: known });
  assert.equal(output.facts?.seed, 4242);
  assert.equal(fal.jobs.length, 1);
});

test("a cancelled run withdraws its job and says what became of it; one that is stopped, stale or complete leaves it", async () => {
  const reasons: [unknown, FalStep, string | undefined][] = [
    [new RunOver("cancelled", { isCancelled: true }), { queue: 1 }, "withdrawn"],
    [new RunOver("cancelled", { isCancelled: true }), { logs: [] }, "ran"],
    [new RunOver("stale", { isCancelled: false }), { logs: [] }, undefined],
    [new Error("the worker stops"), { logs: [] }, undefined],
  ];
  for (const [reason, step, outcome] of reasons) {
    fal.plan = (job) => (job.steps = [step]);
    const over = new AbortController();
    const heard: WithdrawalRequest[] = [];
    const running = failureOf(run({}, { signal: over.signal, server: keeping(heard) }));
    await fal.answered(/\/status/, fal.requests.filter((line) => line.includes("/status")).length + 2);
    over.abort(reason);
    assert.equal(await running, reason);
    assert.equal(fal.jobs.at(-1)?.isCancelled, outcome !== undefined, String(reason));
    const reported = heard.flatMap(({ reports = [] }) => reports.map((report) => report.outcome));
    assert.deepEqual(reported, outcome ? [outcome] : []);
  }
});

test("a cancelled run does not cancel a job that the server gives to nobody or to another party", async () => {
  for (const server of [undefined, keeping([], { knows: false })]) {
    fal.plan = (job) => (job.steps = [{ queue: 1 }]);
    const over = new AbortController();
    const running = failureOf(run({}, { signal: over.signal, ...(server && { server }) }));
    await fal.answered(/\/status/, fal.requests.filter((line) => line.includes("/status")).length + 2);
    over.abort(new RunOver("cancelled", { isCancelled: true }));
    assert.ok((await running) instanceof RunOver);
    assert.equal(fal.jobs.at(-1)?.isCancelled, false);
  }
});

test("a run that is over while it submits knows what it submitted", async () => {
  for (const isCancelled of [true, false]) {
    const over = new AbortController();
    const seen: Seen = { notes: [], progress: [] };
    fal.plan = (job) => {
      job.steps = [{ logs: [] }];
      over.abort(new RunOver("over", { isCancelled }));
    };
    await failureOf(run({}, { signal: over.signal, seen, server: keeping([]) }));
    const job = fal.jobs.at(-1);
    assert.equal(seen.notes.at(-1)?.request_id, job?.requestId);
    assert.equal(job?.isCancelled, isCancelled);
  }
});

test("a job that cannot be noted any more is told to the server, and cancelled where the server does not keep it", async () => {
  const noteJob = (job: ProviderJobNote) =>
    job.request_id === undefined
      ? Promise.resolve()
      : Promise.reject(new DarkroomApiError(409, "task_cancelled", "over", undefined));
  const cases: [boolean, FalStep][] = [
    [true, { queue: 1 }],
    [false, { logs: [] }],
  ];
  for (const [knows, step] of cases) {
    fal.plan = (job) => (job.steps = [step]);
    const heard: WithdrawalRequest[] = [];
    const error = await failureOf(run({}, { noteJob, server: keeping(heard, { knows }) }));
    assert.ok(error instanceof DarkroomApiError);
    const job = fal.jobs.at(-1);
    assert.deepEqual(heard[0]?.submitted, {
      task_id: task.task_id,
      attempt: 1,
      step: 0,
      request_id: job?.requestId,
    });
    assert.equal(job?.isCancelled, true);
    const reported = heard.flatMap(({ reports = [] }) => reports.map((report) => report.outcome));
    assert.deepEqual(reported, knows ? ["withdrawn"] : []);
  }
});

test("a provider that is tended withdraws what is due", async () => {
  await run();
  fal.plan = (job) => (job.steps = [{ queue: 1 }]);
  const heard: WithdrawalRequest[] = [];
  const client = new DarkroomClient({
    url: "http://127.0.0.1:9",
    token: "none",
    workerId: "worker",
    fetch: answering(keeping(heard)),
  });
  await provider().tend?.({ client, log: { warn: () => undefined } });
  assert.deepEqual(
    heard.map(({ at_most, reports }) => [at_most, reports?.[0]?.outcome]),
    [
      [20, undefined],
      [undefined, "ran"],
    ],
  );
});

test("a job that FAL calls failed or cancelled ends the run at once, whatever its result says", async () => {
  for (const state of ["FAILED", "ERROR", "CANCELLED"]) {
    const results: [FalJob["result"], boolean, RegExp][] = [
      [
        { status: 500, body: { detail: "CUDA out of memory" } },
        true,
        new RegExp(`${state}: FAL failed \\(500\\): CUDA`),
      ],
      [{ status: 404, body: { detail: "Request not found" } }, true, new RegExp(`the job ended as ${state}`)],
      [{ status: 400, body: { detail: "Request is still in progress" } }, false, /./],
      [
        { status: 422, body: { detail: [{ loc: ["body", "prompt"], msg: "flagged", type: "policy" }] } },
        false,
        /flagged/,
      ],
    ];
    for (const [result, isRetryable, message] of results) {
      fal.requests.length = 0;
      fal.plan = (job) => {
        job.steps = [{ queue: 1 }, { state }];
        job.result = result;
      };
      const begun = performance.now();
      const error = isRenderError(await failureOf(run()), isRetryable, true);
      assert.match(error.message, message);
      assert.ok(performance.now() - begun < 1_500, "no patience is spent");
      assert.equal(fal.requests.filter((line) => line.includes("/status")).length, 2);
    }
  }
});

test("what FAL refuses is the caller's fault, the key's or FAL's own, and says nothing secret", async () => {
  const detail = [
    {
      loc: ["body", "prompt"],
      msg: "flagged, see https://x.example/?k=1",
      type: "content_policy_violation",
      input: "the prompt",
    },
  ];
  const cases: [FalFault["does"], (error: unknown) => void][] = [
    [
      { status: 422, body: { detail } },
      (error) =>
        assert.equal(
          isRenderError(error, false, true).message,
          "FAL refuses what was asked for (422): prompt: flagged, see … (content_policy_violation)",
        ),
    ],
    [{ status: 400, body: { detail: "Invalid input" } }, (error) => isRenderError(error, false, true)],
    [{ status: 404, body: { detail: "Path not found" } }, (error) => isRenderError(error, true, true)],
    [{ status: 401, body: { detail: "no key" } }, (error) => assert.ok(error instanceof ProviderUnusable)],
    [
      { status: 403, body: { detail: "User is locked" } },
      (error) => assert.ok(error instanceof ProviderUnusable),
    ],
  ];
  for (const [does, check] of cases) {
    fal.faults = [{ at: /^POST/, does }];
    const error = await failureOf(run());
    check(error);
    assert.doesNotMatch((error as Error).message, /the prompt|x\.example|canary/);
  }
  assert.equal(fal.jobs.length, 0);
  const wrongKey = await failureOf(run({}, { using: provider({ variables: { FAL_KEY: "other" } }) }));
  assert.ok(wrongKey instanceof ProviderUnusable);
  assert.doesNotMatch(wrongKey.message, /canary/);
});

test("FAL away, busy, slow to answer, half-answering or malformed is waited for, and paid once", async () => {
  const passing: [RegExp, FalFault["does"]][] = [
    [/^POST/, { status: 429, body: { detail: "busy" }, headers: { "retry-after": "0" } }],
    [/^POST/, { status: 503, body: { detail: "no runner" } }],
    [/\/status/, "cut"],
    [/\/status/, "half"],
    [/\/status/, { status: 500, body: {} }],
    [/\/status/, { status: 502 }],
    [/\/status/, { text: "<html>oops" }],
    [/\/status/, { text: "[1,2" }],
    [/\/status/, { status: 200, body: { status: "WHAT" } }],
    [/^GET .*requests\/[\w-]+$/, "half"],
    [/^GET .*requests\/[\w-]+$/, { status: 504 }],
    [/^GET .*requests\/[\w-]+$/, { status: 429, body: { detail: "busy" }, headers: { "retry-after": "0" } }],
    [/^GET \/files/, "half"],
    [/^GET \/files/, { status: 503 }],
    [/^GET \/files/, "cut"],
  ];
  for (const [at, does] of passing) {
    const before = fal.jobs.length;
    fal.faults = [{ at, does }];
    const output = await run();
    assert.equal(output.facts?.seed, 4242, `${at}`);
    assert.equal(fal.faults[0]?.times, 0, `${at} was met`);
    assert.equal(fal.jobs.length, before + 1, `${at} ${JSON.stringify(does)}`);
  }
});

test("the client's own repetitions do not submit again what may have been taken", async () => {
  fal.faults = [{ at: /^POST/, does: "cut-after", times: 1 }];
  const webhook = { FAL_WEBHOOK: "https://darkroom.example/functions/v1/fal-webhook" };
  const over = new AbortController();
  const running = failureOf(run({}, { using: provider({ variables: webhook, pace }), signal: over.signal }));
  while (fal.jobs.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(fal.jobs.length, 1, "the webhook is waited for");
  assert.match(fal.jobs[0]?.webhook ?? "", /fal-webhook\?key=[0-9a-f-]{36}$/);
  over.abort(new RunOver("the webhook ended it", { isCancelled: false }));
  assert.ok((await running) instanceof RunOver);
});

test("a run that does not know whether there is a job waits for the webhook's word, and not for ever", async () => {
  const webhook = { FAL_WEBHOOK: "https://darkroom.example/functions/v1/fal-webhook" };
  const unknown = { provider: "fal", model: "fal-ai/z-image/turbo", request_id: null };
  const using = provider({ variables: webhook, pace: { ...pace, webhookSeconds: 60 } });
  const old = new Date(Date.now() - 120_000).toISOString();
  await run({ provider_job: { ...unknown, began_at: old } }, { using });
  assert.equal(fal.jobs.length, 1);
  const over = new AbortController();
  const seen: Seen = { notes: [], progress: [] };
  const running = failureOf(
    run(
      { provider_job: { ...unknown, began_at: new Date().toISOString() } },
      { using, signal: over.signal, seen },
    ),
  );
  while (seen.progress.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  over.abort(new RunOver("complete", { isCancelled: false }));
  assert.ok((await running) instanceof RunOver);
  assert.equal(fal.jobs.length, 1);
});

test("FAL that stays away ends the run, and leaves the job to the next one", async () => {
  const impatient = provider({ pace: { ...pace, patienceSeconds: 0.2 } });
  fal.faults = [{ at: /\/status/, does: { status: 503 }, times: 1000 }];
  isRenderError(await failureOf(run({}, { using: impatient })), true, false);
  fal.faults = [{ at: /^POST/, does: { status: 503 }, times: 1000 }];
  isRenderError(await failureOf(run({}, { using: impatient })), true, true);
  await fal.close();
  const away = await failureOf(run({}, { using: impatient }));
  assert.ok(away instanceof RenderError && away.isRetryable);
  fal = await startFakeFal();
});

test("a job that fails at FAL, is unknown there or too long, ends with the run; the next one begins another", async () => {
  fal.plan = (job) => {
    job.error = "runner died";
    job.result = { status: 503, body: { detail: "Runner disconnected", error_type: "runner_disconnected" } };
  };
  const failed = isRenderError(await failureOf(run()), true, true);
  assert.equal(failed.message, "FAL failed (503): Runner disconnected (runner_disconnected)");
  fal.plan = (job) => {
    job.result = {
      status: 422,
      body: { detail: [{ loc: ["body", "image_url"], msg: "Not an image", type: "image_load_error" }] },
    };
  };
  assert.match(isRenderError(await failureOf(run()), false, true).message, /image_url: Not an image/);
  fal.plan = (job) => {
    job.result = { status: 500, body: { detail: "again" }, headers: { "x-fal-retryable": "false" } };
  };
  isRenderError(await failureOf(run()), false, true);

  const known = { provider: "fal", model: "fal-ai/z-image/turbo", began_at: new Date().toISOString() };
  isRenderError(
    await failureOf(run({ provider_job: { ...known, request_id: "expired-long-ago" } })),
    true,
    true,
  );
  fal.plan = (job) => (job.steps = [{ logs: [] }]);
  const hasty = provider({ pace: { ...pace, longestJobSeconds: 0.05 } });
  isRenderError(await failureOf(run({}, { using: hasty })), true, true);
  assert.equal(fal.jobs.at(-1)?.isCancelled, true);
});

test("a result that is none, or no picture, fails the task for good: the same params would be paid again", async () => {
  const page = fal.file("/files/page.png", {
    bytes: Buffer.from("<html>"),
    headers: { "content-type": "image/png" },
  });
  const video = Buffer.concat([Buffer.from("\0\0\0\x18ftypisom"), Buffer.alloc(64)]);
  const results: unknown[] = [
    {},
    { images: [] },
    { images: [{}] },
    { images: [null] },
    { images: ["https://a.example/x.png"] },
    { video: { url: 7 } },
    pictures([page]),
    pictures([fal.file("/files/movie.png", { bytes: video })]),
    { video: { url: fal.file("/files/picture.mp4") } },
    pictures([`${fal.url}/files/missing.png`]),
    pictures(["x".repeat(5000)]),
    pictures(Array.from({ length: 17 }, () => page)),
  ];
  for (const body of results) {
    fal.plan = (job) => (job.result.body = body);
    isRenderError(await failureOf(run()), false, true);
  }
});

test("hostile addresses in a result reach nothing inside", async () => {
  const canary = await startReceiver();
  try {
    const inside = [
      `http://127.0.0.1:${canary.port}/`,
      `https://127.0.0.1:${canary.port}/`,
      `http://localhost:${canary.port}/`,
      `http://0x7f000001:${canary.port}/`,
      `http://[::ffff:127.0.0.1]:${canary.port}/`,
      `https://rebinds.example:${canary.port}/`,
      "file:///etc/passwd",
      "gopher://127.0.0.1:70/_x",
      "data:image/png;base64,iVBORw0KGgo=",
      `https://user@127.0.0.1:${canary.port}/`,
    ];
    const using = provider({
      resolve: (name) => Promise.resolve(name === "127.0.0.1" ? [name] : ["93.184.215.14", "127.0.0.1"]),
    });
    for (const url of inside) {
      const redirect = fal.file("/files/redirect.png", {
        bytes: new Uint8Array(),
        status: 302,
        headers: { location: url },
      });
      for (const named of [url, redirect]) {
        fal.plan = (job) => (job.result.body = pictures([named]));
        const error = isRenderError(await failureOf(run({}, { using })), false, true);
        assert.doesNotMatch(error.message, /127\.0\.0\.1|localhost|passwd/, "nobody learns what there is");
      }
    }
    assert.equal(canary.connections(), 0);
  } finally {
    await canary.close();
  }
});

test("hostile addresses in a task's params are never sent to FAL, nor fetched", async () => {
  const canary = await startReceiver();
  const inside = [
    `http://127.0.0.1:${canary.port}/x.png`,
    `https://127.0.0.1:${canary.port}/x.png`,
    "https://0x7f000001/x.png",
    "https://2130706433/x.png",
    "https://[::1]/x.png",
    "https://[::ffff:7f00:1]/x.png",
    "https://169.254.169.254/latest/meta-data/",
    "https://localhost/x.png",
    "https://metadata/x.png",
    "http://media.example/x.png",
    "file:///etc/passwd",
    "gopher://media.example/",
    "data:image/png;base64,iVBORw0KGgo=",
    "https://user:password@media.example/x.png",
    "https://media.example\\@127.0.0.1/x.png",
    "//media.example/x.png",
    "x.png",
    // Our own host, and something else there than public files.
    `http://127.0.0.1:${canary.port}/functions/v1/run-doctor`,
    `http://127.0.0.1:${canary.port}/storage/v1/object/public/../../../functions/v1/x`,
    `http://127.0.0.1:${canary.port}/storage/v1/object/public/%2e%2e/%2e%2e/x`,
    `http://127.0.0.1:${canary.port + 1}/storage/v1/object/public/image_uploads/x.png`,
  ];
  const fields: [string, (url: string) => Record<string, unknown>][] = [
    ["z_image_turbo_i2i", (image_url) => ({ prompt: "a", image_url })],
    ["image_inpaint", (mask_url) => ({ prompt: "a", image_url: "https://media.example/a.png", mask_url })],
    ["qwen_image_style", (style_reference_image) => ({ prompt: "a", style_reference_image })],
    ["qwen_image", (path) => ({ prompt: "a", additional_loras: { [path]: 1 } })],
    ["z_image_turbo", (path) => ({ prompt: "a", loras: [{ path, scale: 1 }] })],
    [
      "animate_character",
      (url) => ({ character_image_url: "https://media.example/a.png", motion_video_url: url }),
    ],
  ];
  try {
    const using = provider({ storageUrls: [`http://127.0.0.1:${canary.port}`] });
    for (const [task_type, params] of fields) {
      for (const url of inside) {
        const error = await failureOf(run({ task_type, params: params(url) }, { using }));
        isRenderError(error, false, false);
      }
    }
    // A name that leads inside, or nowhere now, is tried again; it is not sent either.
    for (const addresses of [["10.0.0.7"], ["93.184.215.14", "127.0.0.1"], []]) {
      const rebinding = provider({ resolve: () => Promise.resolve(addresses) });
      const params = { prompt: "a", image_url: "https://media.example/a.png" };
      isRenderError(
        await failureOf(run({ task_type: "z_image_turbo_i2i", params }, { using: rebinding })),
        true,
        false,
      );
    }
    assert.deepEqual(fal.requests, []);
    assert.equal(canary.connections(), 0);
  } finally {
    await canary.close();
  }
});

test("a file in our own storage, which FAL cannot reach, is brought to FAL; what is none is not", async () => {
  const bytes: Record<string, Uint8Array> = { "a.png": png(), "b.png": Buffer.from("<html>") };
  const storage = await startReceiver((response) => response.writeHead(200).end(bytes[wanted]));
  let wanted = "a.png";
  try {
    const base = `http://127.0.0.1:${storage.port}`;
    const using = provider({ storageUrls: [base] });
    const params = { prompt: "a", image_url: `${base}/storage/v1/object/public/image_uploads/u/a.png` };
    await run({ task_type: "z_image_turbo_i2i", params }, { using });
    assert.match(String(fal.jobs[0]?.input["image_url"]), /^https:\/\/v3\.fal\.media\/files\//);
    assert.deepEqual(fal.uploaded, [{ bytes: Buffer.from(png()), contentType: "image/png" }]);

    wanted = "b.png";
    const refused = isRenderError(
      await failureOf(run({ task_type: "z_image_turbo_i2i", params }, { using })),
      false,
      false,
    );
    assert.equal(refused.message, "image_url: the file is not an image");
    assert.equal(fal.jobs.length, 1);
  } finally {
    await storage.close();
  }
});

test("the key goes to FAL's own addresses, and along no redirect", async () => {
  const stranger = await startReceiver((response) => response.writeHead(200).end("{}"));
  try {
    fal.faults = [{ at: /^POST/, does: { status: 307, headers: { location: stranger.url } }, times: 1000 }];
    const impatient = provider({ pace: { ...pace, patienceSeconds: 0.1 } });
    isRenderError(await failureOf(run({}, { using: impatient })), true, false);
    assert.equal(stranger.connections(), 0);
  } finally {
    await stranger.close();
  }
});

test("an orchestrator reports no progress of its jobs, because that would tell the server that its children exist", async () => {
  for (const [task_type, reports] of [
    ["edit_video_orchestrator", false],
    ["z_image_turbo", true],
  ] as const) {
    const seen: Seen = { notes: [], progress: [] };
    const recipe: FalRecipe = async (_task, jobs) => {
      await jobs.run(0, { model: "fal-ai/z-image/turbo", input: { prompt: "a fox" }, files: [], units: {} });
      return { file: { bytes: png(), filename: "fox.png", contentType: "image/png" } };
    };
    await run({ task_type }, { seen, using: provider({ recipes: { [task_type]: recipe } }) });
    assert.equal(seen.progress.length > 0, reports, task_type);
  }
});
