import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { type FakeFal, startFakeFal } from "../../../../../test/support/fake-fal.ts";
import { png } from "../../../../../test/support/png.ts";
import {
  type ClaimedTask,
  DarkroomApiError,
  DarkroomClient,
  type ProviderJobNote,
  type ProviderStep,
} from "../client.ts";
import { type Delegation, type RenderedOutput, RenderError } from "../provider.ts";
import { emptyLora } from "../../../../../worker/sandbox/lora.ts";
import { createFalProvider, type FalOptions } from "./provider.ts";
import type { FalJobs, FalRecipe, FalRequest } from "./recipe.ts";

const model = "fal-ai/z-image/turbo";
const webhook = "https://darkroom.example/functions/v1/fal-webhook";
const task: ClaimedTask = {
  task_id: "11111111-2222-4333-8444-555555555555",
  task_type: "film_of_three",
  project_id: "99999999-2222-4333-8444-555555555555",
  params: {},
  attempt: 1,
  attempts: 0,
  lease_expires_at: new Date().toISOString(),
};
const pace = { pollSeconds: 0.002, longestPollSeconds: 0.002, patienceSeconds: 2, webhookSeconds: 0.05 };

let fal: FakeFal;
beforeEach(async () => {
  fal = await startFakeFal();
  fal.plan = (job) => (job.steps = ["ended"]);
});
afterEach(() => fal.close());

function request(prompt: string, more: Partial<FalRequest> = {}): FalRequest {
  return { model, input: { prompt }, files: [], units: { images: 1, megapixels: 1 }, ...more };
}

function urlIn({ data }: { data: unknown }): string {
  return (data as { images: { url: string }[] }).images[0]?.url ?? "";
}

/** Two jobs, one after the other, and a third that is made of both. */
const filmOfThree: FalRecipe = async (_, jobs) => {
  const first = urlIn(await jobs.run(0, request("first")));
  const second = urlIn(await jobs.run(1, request("second")));
  const { data } = await jobs.run(2, request(`${first} ${second}`));
  return await jobs.output(data);
};

/** The server, as far as it keeps jobs: one for each step. */
class JobKeeper {
  readonly notes: ProviderJobNote[] = [];
  readonly #kept = new Map<number, { model: string; requestId: string | null; key: string | undefined }>();

  note(job: ProviderJobNote): void {
    this.notes.push(job);
    const { step = 0, request_id: requestId, webhook_key: key } = job;
    const kept = this.#kept.get(step);
    if (requestId !== undefined) {
      assert.equal(kept?.requestId ?? requestId, requestId, "the id of a job does not change");
      this.#kept.set(step, { model: job.model, requestId, key: kept?.key });
      return;
    }
    if (kept && kept.requestId !== null) {
      throw new DarkroomApiError(409, "provider_job_open", "open", undefined, {
        provider_job: { provider: "fal", model: kept.model, request_id: kept.requestId },
      });
    }
    this.#kept.set(step, { model: job.model, requestId: null, key });
  }

  /** What FAL's webhook does for jobs whose id was not noted. */
  hear(jobs: FakeFal["jobs"]): void {
    for (const { requestId, webhook: address } of jobs) {
      const key = address && new URL(address).searchParams.get("key");
      for (const kept of this.#kept.values()) {
        if (kept.requestId === null && kept.key !== undefined && kept.key === key) kept.requestId = requestId;
      }
    }
  }

  forget(steps: readonly number[]): void {
    for (const step of steps) this.#kept.delete(step);
  }

  claim(): ProviderStep[] {
    return [...this.#kept].map(([step, { model: name, requestId, key }]) => ({
      step,
      provider: "fal",
      model: name,
      request_id: requestId,
      began_at: new Date().toISOString(),
      ...(requestId === null && key !== undefined && { webhook_key: key }),
    }));
  }
}

interface RunOptions {
  keeper?: JobKeeper;
  variables?: Record<string, string>;
  signal?: AbortSignal;
  noteJob?: (job: ProviderJobNote) => Promise<void>;
  progress?: string[];
  options?: Partial<FalOptions>;
}

async function run(
  recipe: FalRecipe,
  { keeper = new JobKeeper(), variables, signal, noteJob, progress = [], options }: RunOptions = {},
): Promise<RenderedOutput> {
  const provider = createFalProvider({
    storageUrls: [],
    resolve: (name) => Promise.resolve([name === "127.0.0.1" ? name : "93.184.215.14"]),
    pace,
    recipes: { [task.task_type]: recipe },
    ...options,
    variables: { ...fal.variables, ...variables },
  });
  const output = await provider.run(
    { ...task, provider_jobs: keeper.claim() },
    {
      client: new DarkroomClient({ url: "http://127.0.0.1:9", token: "none", workerId: "worker", tries: 1 }),
      signal: signal ?? new AbortController().signal,
      log: { warn: () => undefined },
      progress: (fraction, message) => void progress.push(`${Math.round(fraction * 100)} ${message}`),
      noteJob: async (job) => {
        await (noteJob ?? ((noted) => Promise.resolve(keeper.note(noted))))(job);
      },
    },
  );
  assert.ok("file" in output);
  return output;
}

async function failureOf(running: Promise<RenderedOutput | Delegation>): Promise<RenderError> {
  const error: unknown = await running.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof RenderError, String((error as Error | undefined)?.stack));
  return error;
}

const never = new Promise<void>(() => undefined);

/** A run that dies, as by kill -9, at its nth call: before the call takes effect, or when its answer is not yet there. */
async function killedAt(
  nth: number,
  moment: "before" | "after",
  keeper: JobKeeper,
  variables: Record<string, string>,
): Promise<{ call: string | undefined; isOver: boolean }> {
  const death = new AbortController();
  let calls = 0;
  let call: string | undefined;
  const begin = (line: string): Promise<void> | undefined => {
    if (death.signal.aborted) return never;
    calls++;
    if (calls !== nth) return undefined;
    call = line;
    return moment === "before" ? die() : undefined;
  };
  const end = (line: string): Promise<void> | undefined => {
    if (death.signal.aborted) return never;
    return moment === "after" && calls === nth && line === call ? die() : undefined;
  };
  const died = new Promise<"died">((resolve) =>
    death.signal.addEventListener("abort", () => resolve("died")),
  );
  const die = (): Promise<void> => {
    death.abort(new Error("killed"));
    return never;
  };
  fal.gate = begin;
  fal.answerGate = end;
  const running = run(filmOfThree, {
    keeper,
    variables,
    signal: death.signal,
    async noteJob(job) {
      const line = `note ${job.request_id === undefined ? "intent" : "id"} ${job.step}`;
      await begin(line);
      keeper.note(job);
      await end(line);
    },
  });
  running.catch(() => undefined);
  const outcome = await Promise.race([died, running.then(() => "over" as const)]);
  fal.gate = () => undefined;
  fal.answerGate = () => undefined;
  return { call, isOver: outcome === "over" };
}

test("a run of three jobs that is killed at any of its calls is finished by the next run, and FAL is paid once for each job", async () => {
  const calls: string[] = [];
  for (const variables of [{}, { FAL_WEBHOOK: webhook }] as Record<string, string>[]) {
    const isTold = "FAL_WEBHOOK" in variables;
    for (const moment of ["before", "after"] as const) {
      for (let nth = 1; ; nth++) {
        // The webhook changes what becomes of submissions alone.
        if (isTold && !/^(POST|note)/.test(calls[nth - 1] ?? "POST")) continue;
        fal.jobs.length = 0;
        const keeper = new JobKeeper();
        const { call, isOver } = await killedAt(nth, moment, keeper, variables);
        if (isOver) break;
        calls[nth - 1] = call ?? "";
        // FAL tells of what it has taken.
        keeper.hear(fal.jobs);
        const output = await run(filmOfThree, { keeper, variables });
        assert.ok(fal.maker(output.file.bytes), "the file is one that FAL made");
        const isUnknown =
          (moment === "after" && call?.startsWith("POST")) ||
          (moment === "before" && call?.startsWith("note id"));
        assert.equal(fal.jobs.length, isUnknown && !isTold ? 4 : 3, `killed ${moment} ${call}`);
      }
    }
  }
  // Of three jobs: the intent, the submission, the id, the status and the result; and the file.
  assert.equal(calls.length, 16, calls.join("\n"));
});

test("an id that the webhook notes while the run waits for it is followed, and the job is not submitted again", async () => {
  const keeper = new JobKeeper();
  keeper.note({ provider: "fal", model, step: 1, webhook_key: crypto.randomUUID() });
  const [told] = keeper.claim();
  const running = run(filmOfThree, {
    keeper,
    variables: { FAL_WEBHOOK: webhook },
    options: { pace: { ...pace, webhookSeconds: 60 } },
  });
  while (!keeper.notes.some(({ step, request_id }) => step === 0 && request_id !== undefined)) await pause(2);
  // The job that the dead run has submitted.
  const submitted = await fetch(`${fal.url}/${model}?fal_webhook=${webhook}?key=${told?.webhook_key}`, {
    method: "POST",
    headers: { authorization: `Key ${fal.key}` },
    body: JSON.stringify({ prompt: "second" }),
  });
  assert.equal(submitted.status, 200);
  await pause(20);
  assert.equal(fal.jobs.length, 2, "the run waits for the webhook's word");
  keeper.hear(fal.jobs);
  await running;
  assert.deepEqual(
    fal.jobs.map(({ input }) => String(input["prompt"]).split(" ").length),
    [1, 1, 2],
  );
});

test("steps run at the same time, six of a task at most, and each keeps its number, units and result", async () => {
  let most = 0;
  fal.plan = (job) => {
    job.steps = [{ logs: [] }, { logs: [] }, "ended"];
    const open = fal.jobs.filter(({ timesAsked }) => timesAsked < 3).length + 1;
    most = Math.max(most, open);
  };
  const keeper = new JobKeeper();
  const progress: string[] = [];
  const results = new Map<number, string>();
  await run(
    async (_, jobs) => {
      jobs.expect(9);
      const steps = Array.from({ length: 9 }, (_unused, step) => step);
      const all = await Promise.all(
        steps.map(async (step) => {
          const result = await jobs.run(step, request(`part ${step}`, { units: { images: step } }));
          results.set(step, result.requestId);
          return result;
        }),
      );
      return await jobs.output(all[0]?.data);
    },
    { keeper, progress },
  );
  assert.equal(most, 6);
  for (const { input, requestId } of fal.jobs) {
    const step = Number(String(input["prompt"]).split(" ")[1]);
    assert.equal(results.get(step), requestId);
    assert.deepEqual(
      keeper.notes
        .filter((note) => note.step === step)
        .map(({ units, completes, request_id }) => [units, completes, request_id]),
      [
        [{ images: step }, false, undefined],
        [undefined, undefined, requestId],
      ],
    );
  }
  const fractions = progress.map((line) => Number(line.split(" ")[0]));
  assert.deepEqual(
    fractions,
    fractions.toSorted((a, b) => a - b),
    "progress never goes back",
  );
  assert.match(progress.at(-2) ?? "", /FAL: 9 of 9 jobs done/);
});

test("when one of several jobs fails, the others are left to the next run, which begins the failed one alone", async () => {
  const recipe: FalRecipe = async (_, jobs) => {
    const [first] = await Promise.all(["a", "b", "c"].map((prompt, step) => jobs.run(step, request(prompt))));
    return await jobs.output(first?.data);
  };
  const keeper = new JobKeeper();
  fal.plan = (job) => {
    job.steps = job.input["prompt"] === "c" ? [{ logs: [] }] : ["ended"];
    if (job.input["prompt"] !== "b") return;
    job.steps = [{ logs: [] }, "ended"];
    job.error = "runner died";
    job.result = { status: 503, body: { detail: "Runner disconnected" } };
  };
  const error = await failureOf(run(recipe, { keeper }));
  assert.match(error.message, /Runner disconnected/);
  assert.deepEqual([error.isRetryable, error.endedSteps], [true, [1]]);
  assert.equal(fal.jobs.filter(({ isCancelled }) => isCancelled).length, 0, "the third goes on at FAL");
  assert.equal(keeper.claim().filter(({ request_id }) => request_id !== null).length, 3);

  keeper.forget(error.endedSteps ?? []);
  fal.plan = (job) => (job.steps = ["ended"]);
  for (const job of fal.jobs) if (job.input["prompt"] === "c") job.steps = ["ended"];
  await run(recipe, { keeper });
  assert.deepEqual(
    fal.jobs.map(({ input }) => input["prompt"]),
    ["a", "b", "c", "b"],
  );
});

test("when a job is refused for good, the steps that have ended are named, and those that run are not", async () => {
  const recipe: FalRecipe = async (_, jobs) => {
    await jobs.run(0, request("a"));
    await Promise.all([jobs.run(1, request("b")), jobs.run(2, request("c"))]);
    throw new Error("not reached");
  };
  fal.plan = (job) => {
    job.steps = job.input["prompt"] === "c" ? [{ logs: [] }] : ["ended"];
    if (job.input["prompt"] === "b")
      job.result = { status: 422, body: { detail: [{ loc: ["body", "prompt"], msg: "flagged" }] } };
  };
  const error = await failureOf(run(recipe));
  assert.match(error.message, /prompt: flagged/);
  assert.deepEqual([error.isRetryable, error.endedSteps?.toSorted()], [false, [0, 1]]);
});

test("a job whose submission was refused, or that never reached FAL, is begun again; one that may be there is not", async () => {
  const keeper = new JobKeeper();
  const impatient = { options: { pace: { ...pace, patienceSeconds: 0.05 } } };
  fal.faults = [{ at: /^POST/, does: { status: 503 }, times: 1000 }];
  const away = await failureOf(run(filmOfThree, { keeper, ...impatient }));
  assert.deepEqual([away.isRetryable, away.endedSteps], [true, [0]]);
  fal.faults = [{ at: /^POST/, does: "cut-after", times: 1000 }];
  const lost = await failureOf(run(filmOfThree, { keeper, ...impatient }));
  assert.deepEqual([lost.isRetryable, lost.endedSteps], [true, []]);
});

test("all inputs of a film are checked before its first job is submitted", async () => {
  const fileAt = (url: string) => ({
    files: [{ field: "image_urls", url, medium: "image" as const, place: () => undefined }],
  });
  const recipe: FalRecipe = async (_, jobs) => {
    const requests = ["https://media.example/a.png", "https://127.0.0.1/b.png"].map((url) =>
      request(url, fileAt(url)),
    );
    await Promise.all(requests.map((one, step) => jobs.prepare(step, one)));
    await Promise.all(requests.map((one, step) => jobs.run(step, one)));
    throw new Error("not reached");
  };
  const error = await failureOf(run(recipe));
  assert.match(error.message, /^image_urls: /);
  assert.equal(fal.jobs.length, 0);
});

test("a result's files are fetched within limits and proven to be what they are asked as", async () => {
  const lora = emptyLora("lora_training");
  const page = Buffer.from("<html>");
  const shifted = Buffer.from(lora);
  shifted.writeUInt8(shifted.readUInt8(0) + 8, 0);
  const cases: [Parameters<FalJobs["fetch"]>[1], Uint8Array, string | RegExp][] = [
    ["image", png(), "image/png"],
    ["image", page, /image is none/],
    ["image", png().subarray(0, -10), /image/],
    ["video", png(), /video is none/],
    ["weights", lora, "application/octet-stream"],
    ["weights", lora.subarray(0, -1), /weights are not complete/],
    ["weights", Buffer.concat([lora, Buffer.alloc(1)]), /weights are not complete/],
    ["weights", lora.subarray(0, 40), /no safetensors file/],
    ["weights", shifted, /no safetensors file|not complete/],
    ["weights", Buffer.alloc(4), /no safetensors file/],
    ["weights", png(), /no safetensors file/],
  ];
  for (const [medium, bytes, expected] of cases) {
    const url = fal.file("/files/made", { bytes });
    const recipe: FalRecipe = async (_, jobs) => ({ file: await jobs.fetch(url, medium, "made.bin") });
    if (typeof expected === "string") {
      const { file } = await run(recipe);
      assert.deepEqual([file.contentType, file.filename], [expected, "made.bin"]);
      assert.deepEqual(Buffer.from(file.bytes), Buffer.from(bytes));
    } else {
      const error = await failureOf(run(recipe));
      assert.match(error.message, expected);
      assert.equal(error.isRetryable, false);
    }
  }
  const inside: FalRecipe = async (_, jobs) => ({
    file: await jobs.fetch("https://169.254.169.254/latest", "weights", "x"),
  });
  assert.equal((await failureOf(run(inside))).isRetryable, false);
});

test("warnings go with the output, each once; a run that has warned is not completed by the webhook", async () => {
  const keeper = new JobKeeper();
  const recipe: FalRecipe = async (_, jobs) => {
    await jobs.run(0, request("a", { completes: true }));
    jobs.warn("the model has no negative prompt");
    jobs.warn("the model has no negative prompt");
    const { data } = await jobs.run(1, request("b", { completes: true }));
    return { ...(await jobs.output(data)), warnings: ["the film is a frame shorter"] };
  };
  const { warnings } = await run(recipe, { keeper });
  assert.deepEqual(warnings, ["the model has no negative prompt", "the film is a frame shorter"]);
  assert.deepEqual(
    keeper.notes.filter(({ request_id }) => request_id === undefined).map(({ completes }) => completes),
    [true, false],
  );
});

test("a step out of range, or one that is run twice, is an error of the recipe", async () => {
  for (const steps of [[-1], [64], [1.5], [3, 3]]) {
    const recipe: FalRecipe = async (_, jobs) => {
      await Promise.all(steps.map((step) => jobs.run(step, request("a"))));
      throw new Error("not reached");
    };
    await assert.rejects(run(recipe), /is not from 0 to 63|was run before/);
  }
});
