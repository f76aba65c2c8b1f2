import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { after, before, describe, test } from "node:test";
import {
  type Answer,
  base64,
  booksOf,
  type ClaimedTask,
  type Completion,
  type CreatedTask,
  createProject,
  invoke,
  post,
  service,
  signUp,
  succeed,
} from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { listen, until } from "../support/live-events.ts";
import { png } from "../support/png.ts";
import { Transcript } from "../support/transcript.ts";

const welcomeMicrousd = 5_000_000;
const transcripts = new Map<string, Transcript["steps"]>();

for (const { name, start } of hosts) {
  describe(`a task's round trip on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("sign-up, project, quote, create, claim, progress, upload, complete: picture, generation, charge", async () => {
      const transcript = new Transcript(host.apiUrl);
      await roundTrip(host, transcript);
      transcripts.set(name, transcript.steps);
    });

    test("a file in the body, with its first frame, needs no upload", async () => {
      const transcript = new Transcript(host.apiUrl);
      await completionInOneCall(host, transcript);
      transcripts.set(`${name}, in one call`, transcript.steps);
    });

    test("refusals have one format, with the headers that go with them", async () => {
      const transcript = new Transcript(host.apiUrl);
      await refusals(host, transcript);
      transcripts.set(`${name}, refusals`, transcript.steps);
    });
  });
}

test("Node and Deno answer alike: statuses, bodies, events, ledger", () => {
  for (const part of ["", ", in one call", ", refusals"]) {
    const [node, deno] = [transcripts.get(`Node${part}`), transcripts.get(`Deno${part}`)];
    assert.ok(node?.length, `Node${part} was not played`);
    assert.deepEqual(deno, node);
  }
});

async function roundTrip(host: HostUnderTest, transcript: Transcript): Promise<void> {
  const note = (step: string, answer: Answer<unknown>) =>
    transcript.note(step, {
      status: answer.status,
      type: answer.headers.get("content-type"),
      limit: answer.headers.get("x-ratelimit-limit"),
      body: answer.body,
    });
  async function noted<Body>(step: string, call: Promise<Answer<Body>>): Promise<Body> {
    const answer = await call;
    note(step, answer);
    return await succeed(Promise.resolve(answer));
  }
  const worker = service(host);

  const person = await signUp(host);
  assert.deepEqual(await booksOf(host, person.userId), {
    balance: welcomeMicrousd,
    held: 0,
    ledger: [{ type: "manual", amount: welcomeMicrousd, task_id: null }],
  });
  const projectId = await createProject(person, "Foxes");

  const order = { task_type: "z_image_turbo", params: { prompt: "a fox in the snow", seed: 42 } };
  const quote = await noted<{ cost_microusd: number; exact: boolean }>(
    "quote",
    invoke(person, "calculate-task-cost", order),
  );
  assert.equal(quote.exact, true);

  const events = await listen(person, `task-updates:${projectId}`);
  const balances = await listen(person, `credits:${person.userId}`);
  const pictures = await listen(person, `generations:${projectId}`);

  const created = await noted<CreatedTask>(
    "create",
    invoke(person, "create-task", { ...order, project_id: projectId }),
  );
  const held = await booksOf(host, person.userId);
  transcript.note("books while it waits", held);
  assert.deepEqual([held.balance, held.held], [welcomeMicrousd, quote.cost_microusd]);

  const claimed = await noted<ClaimedTask>(
    "claim",
    post(host, "claim-next-task", { worker_id: "gpu-1", run_type: "api" }, worker),
  );
  assert.equal(claimed.task_id, created.task_id);
  assert.deepEqual(claimed.params, order.params);
  note("claim again", await post(host, "claim-next-task", { worker_id: "gpu-2" }, worker));

  const run = { task_id: claimed.task_id, worker_id: "gpu-1", attempt: claimed.attempt };
  await noted(
    "progress",
    post(
      host,
      "update-task-status",
      { ...run, status: "In Progress", progress: 0.5, progress_message: "half" },
      worker,
    ),
  );

  const upload = await noted<{
    upload_url: string;
    storage_path: string;
    thumbnail_upload_url: string;
    thumbnail_storage_path: string;
  }>(
    "upload url",
    post(
      host,
      "generate-upload-url",
      { ...run, filename: "out put.png", content_type: "image/png", generate_thumbnail_url: true },
      worker,
    ),
  );
  const picture = png({ width: 16, height: 9 });
  // A worker whose first PUT was answered too late sends it again.
  transcript.note("put", [
    await put(upload.upload_url, png()),
    await put(upload.upload_url, picture),
    await put(upload.thumbnail_upload_url, png()),
  ]);

  const completed = await noted<Completion>(
    "complete",
    post(
      host,
      "complete_task",
      { ...run, storage_path: upload.storage_path, thumbnail_storage_path: upload.thumbnail_storage_path },
      worker,
    ),
  );
  const again = await noted<Completion>(
    "complete again",
    post(host, "complete_task", { ...run, storage_path: upload.storage_path }, worker),
  );
  assert.deepEqual(again, completed);
  assert.equal(completed.cost_microusd, quote.cost_microusd);
  await noted("status", invoke(person, "get-task-status", { task_id: created.task_id }));
  await noted("final cost", invoke(person, "calculate-task-cost", { task_id: created.task_id }));

  const { data: generation } = await person.client
    .from("generations")
    .select()
    .eq("id", completed.generation_id)
    .single<Record<string, unknown>>()
    .throwOnError();
  const { data: variants } = await person.client
    .from("generation_variants")
    .select()
    .eq("generation_id", completed.generation_id)
    .throwOnError();
  transcript.note("generation and variants", { generation, variants });
  assert.equal(generation?.["location"], completed.public_url);
  assert.equal(generation["primary_variant_id"], completed.variant_id);
  assert.deepEqual(
    variants?.map(({ id, is_primary, location, variant_type }) => ({
      id,
      is_primary,
      location,
      variant_type,
    })),
    [
      {
        id: completed.variant_id,
        is_primary: true,
        location: completed.public_url,
        variant_type: "original",
      },
    ],
  );

  const books = await booksOf(host, person.userId);
  transcript.note("books at the end", books);
  assert.deepEqual(books, {
    balance: welcomeMicrousd - quote.cost_microusd,
    held: 0,
    ledger: [
      { type: "manual", amount: welcomeMicrousd, task_id: null },
      { type: "spend", amount: -quote.cost_microusd, task_id: created.task_id },
    ],
  });

  const download = await fetch(completed.public_url);
  assert.equal(download.status, 200);
  assert.equal(download.headers.get("content-type"), "image/png");
  assert.deepEqual(new Uint8Array(await download.arrayBuffer()), new Uint8Array(picture));

  const updates = await until(events, (seen) => seen.some(({ status }) => status === "Complete"));
  transcript.note(
    "task events",
    updates.map(({ status, previous_status, progress, progress_message }) => ({
      status,
      previous_status,
      progress,
      progress_message,
    })),
  );
  assert.deepEqual(
    updates.map(({ status, previous_status }) => `${String(previous_status)} > ${String(status)}`),
    ["null > Queued", "Queued > In Progress", "In Progress > In Progress", "In Progress > Complete"],
  );
  const last = (
    await until(balances, (seen) => seen.some(({ balance_microusd }) => balance_microusd === books.balance))
  ).at(-1);
  transcript.note("balance event", last);
  transcript.note("generation event", await until(pictures, (seen) => seen.length > 0));
}

async function completionInOneCall(host: HostUnderTest, transcript: Transcript): Promise<void> {
  const person = await signUp(host);
  const project_id = await createProject(person);
  const order = { task_type: "qwen_image", params: { prompt: "a hare" }, project_id };
  const { task_id } = await succeed(invoke<CreatedTask>(person, "create-task", order));
  // As the shipped worker does it: neither worker nor attempt is named after the claim.
  await succeed(post(host, "claim-next-task", { worker_id: "gpu-1", run_type: "api" }, service(host)));
  const [picture, frame] = [png({ width: 12 }), png({ colour: 0xff_00_00 })];
  const completed = await post<Completion>(
    host,
    "complete_task",
    {
      task_id,
      filename: `${task_id}_hare.png`,
      file_data: base64(picture),
      first_frame_data: base64(frame),
      first_frame_filename: `thumb_${task_id.slice(0, 8)}.jpg`,
    },
    service(host),
  );
  transcript.note("complete", { status: completed.status, body: completed.body.message });
  const { public_url, thumbnail_url, generation_id } = await succeed(Promise.resolve(completed));
  assert.match(public_url, /\/storage\/v1\/object\/public\/image_uploads\//);
  for (const [url, bytes] of [
    [public_url, picture],
    [thumbnail_url ?? "", frame],
  ] as const) {
    const download = await fetch(url);
    assert.equal(download.status, 200, url);
    assert.equal(download.headers.get("content-type"), "image/png");
    assert.deepEqual(new Uint8Array(await download.arrayBuffer()), new Uint8Array(bytes));
  }
  const { data } = await person.client
    .from("generations")
    .select("location, thumbnail_url")
    .eq("id", generation_id);
  assert.deepEqual(data, [{ location: public_url, thumbnail_url }]);
  const { ledger, ...account } = await booksOf(host, person.userId);
  transcript.note("books", { account, types: ledger.map(({ type, amount }) => ({ type, amount })) });
  assert.deepEqual(account, { balance: welcomeMicrousd - 39_000, held: 0 });
}

async function refusals(host: HostUnderTest, transcript: Transcript): Promise<void> {
  const person = await signUp(host);
  const order = { task_type: "z_image_turbo", params: {}, project_id: randomUUID() };
  const longest = 4 * 1024 * 1024;
  const json = { "content-type": "application/json", "x-request-id": "given-by-the-caller" };
  const mine = { ...json, ...person.credentials };
  const asks: Record<string, RequestInit & { duplex?: "half" }> = {
    preflight: { method: "OPTIONS", headers: { origin: "https://studio.example" } },
    "no credentials": { method: "POST", headers: json, body: JSON.stringify(order) },
    "no JSON": { method: "POST", headers: mine, body: "{" },
    "no object": { method: "POST", headers: mine, body: "[]" },
    "no body": { method: "POST", headers: mine },
    "wrong types": { method: "POST", headers: mine, body: '{"task_type": 5, "params": []}' },
    "no such project": { method: "POST", headers: mine, body: JSON.stringify(order) },
    "no such type": { method: "POST", headers: mine, body: JSON.stringify({ ...order, task_type: "none" }) },
    "text that cannot be stored": {
      method: "POST",
      headers: mine,
      body: JSON.stringify({ ...order, task_type: "\0" }),
    },
    "another method": { method: "GET", headers: mine },
    "a compressed body": { method: "POST", headers: { ...mine, "content-encoding": "gzip" }, body: "{}" },
    "too long a body, in chunks": {
      method: "POST",
      headers: mine,
      body: blanks(longest + 1),
      duplex: "half",
    },
  };
  const shown = ["content-type", "allow", "retry-after", "x-request-id", "x-ratelimit-limit"];
  for (const [step, ask] of Object.entries(asks)) {
    const response = await fetch(`${host.apiUrl}/functions/v1/create-task`, ask);
    const { status, headers } = response;
    const text = await response.text();
    const crossOrigin = [...headers.keys()].filter((name) => name.startsWith("access-control-")).toSorted();
    transcript.note(step, {
      status,
      text: headers.get("x-request-id") === "given-by-the-caller" ? text : "",
      // Runtimes differ in the blank before a parameter.
      headers: shown.map((name) => headers.get(name)?.replace("; ", ";")),
      crossOrigin: crossOrigin.map((name) => [name, headers.get(name)]),
    });
    assert.ok(status < 500, `${step}: ${text}`);
  }
  const announced = await announce(`${host.apiUrl}/functions/v1/create-task`, mine, longest + 1);
  transcript.note("too long a body, announced", announced);
  assert.equal(announced.status, 413);
}

/** A body that is announced and never sent: the announcement alone must be answered. */
async function announce(url: string, headers: Record<string, string>, length: number) {
  const asked = httpRequest(url, { method: "POST", headers: { ...headers, "content-length": length } });
  asked.flushHeaders();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  const body: unknown = JSON.parse(Buffer.concat(await response.toArray()).toString());
  asked.destroy();
  return { status: response.statusCode, body };
}

function blanks(total: number): ReadableStream<Uint8Array> {
  let left = total;
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(new Uint8Array(Math.min(left, 65_536)).fill(0x20));
      left -= 65_536;
      if (left <= 0) controller.close();
    },
  });
}

/** As workers send it: the type and nothing that says who they are. */
async function put(url: string, body: Uint8Array): Promise<number> {
  const response = await fetch(url, {
    method: "PUT",
    headers: { "content-type": "image/png" },
    body: body as BodyInit,
  });
  await response.arrayBuffer();
  return response.status;
}
