/** A valid request of every endpoint, with everything made that it needs. */
import { randomUUID } from "node:crypto";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { switchOnAutoTopup } from "../../test/support/auto-topups.ts";
import { claim, createUser, queueTask, type TestUser } from "../../test/support/factories.ts";
import { type FakeFal, type FalJob, pictures } from "../../test/support/fake-fal.ts";
import type { FakeStripe } from "../../test/support/fake-stripe.ts";
import { makeCheckout } from "../../test/support/payments.ts";
import { png } from "../../test/support/png.ts";
import { createWebhook, sendTests } from "../../test/support/webhooks.ts";
import { hashToken, newToken } from "../../supabase/functions/_shared/tokens/token-format.ts";

export interface RequestScene {
  sql: Sql;
  fakeStripe: FakeStripe;
  fakeFal: FakeFal;
  serviceKey: string;
  /** Where webhooks go; it answers 204. */
  receiverUrl: string;
  /** A session's token of this user. */
  session(userId: string): Promise<string>;
  /** Sends a signed event of Stripe's to a host that is not under test. */
  tellStripe(body: string, headers: Record<string, string>): Promise<void>;
  /** One of a few people, taken in turn: for what stays within their limits. */
  someone(): Promise<TestUser>;
}

export interface ValidRequest {
  body: object | string;
  headers: Record<string, string>;
}

type Maker = (scene: RequestScene) => Promise<ValidRequest>;

const image = (index: number) => `https://media.example/${index}.png`;
const output = { filename: "output.png", file_data: Buffer.from(png()).toString("base64") };

/** By the name of the endpoint. The campaign fails when one of the registry is missing. */
export const validRequests: Record<string, Maker> = {
  "create-task": asSomeone(({ projectId }) => ({
    task_type: "z_image_turbo",
    params: { prompt: "a fox ".repeat(200) },
    project_id: projectId,
    idempotency_key: randomUUID(),
  })),
  "single-image-generate": asSomeone(({ projectId }) => ({
    project_id: projectId,
    prompt: "a fox",
    seed: 7,
  })),
  "steerable-motion": asSomeone(({ projectId }) => ({
    project_id: projectId,
    image_urls: [image(1), image(2), image(3)],
    base_prompts: ["a walk"],
    segment_frames: [61],
    frame_overlap: [10],
  })),
  "ai-prompt": asSomeone(() => ({ task: "generate_summary", promptText: "a fox in the snow" })),
  "ai-voice-prompt": asSomeone(() => ({ textInstructions: "a fox at night" })),
  "calculate-task-cost": asSomeone(() => ({ task_type: "z_image_turbo", params: { prompt: "a fox" } })),
  "get-task-status": withTask((task_id) => ({ task_id })),
  "queue-position": withTask((task_id) => ({ task_id })),
  "task-counts": asService(() => ({ run_type: "gpu", include_active: true })),
  "get-task-output": withTask((task_id) => ({ task_id })),
  "get-predecessor-output": withTask((task_id) => ({ task_id })),
  "get-orchestrator-children": withTask(
    (orchestrator_task_id) => ({ orchestrator_task_id, limit: 10, cursor: null }),
    "travel_orchestrator",
  ),
  "get-completed-segments": asSomeone(({ projectId }) => ({ run_id: "a run", project_id: projectId })),
  "tasks-list": asSomeone(({ projectId }) => ({
    project_id: projectId,
    status: ["Queued"],
    task_types: ["z_image_turbo"],
    limit: 10,
  })),
  async "claim-next-task"(scene) {
    const person = await createUser(scene.sql);
    await queueTask(scene.sql, person);
    return { body: { worker_id: `worker-${randomUUID()}` }, headers: await tokenOf(scene, person) };
  },
  "generate-upload-url": withRun(() => ({ filename: "output.png", content_type: "image/png" })),
  complete_task: withRun(() => output),
  "update-task-status": withRun(() => ({ status: "In Progress", progress: 0.5, progress_message: "half" })),
  "update-worker-model": asService(() => ({
    worker_id: `worker-${randomUUID()}`,
    current_model: "qwen",
    instance_type: "runpod",
  })),
  async "update-shot-pair-prompts"(scene) {
    const { sql } = scene;
    const person = await scene.someone();
    const [row] = await sql<{ shot: string }[]>`
      with shot as (insert into shots (project_id) values (${person.projectId}) returning id),
           made as (insert into generations (project_id, type, location)
                    values (${person.projectId}, 'image', ${`https://media.example/${randomUUID()}.png`}) returning id)
      insert into shot_generations (shot_id, generation_id, timeline_frame)
      select shot.id, made.id, 0 from shot, made returning shot_id as shot`;
    const body = { shot_id: row?.shot, enhanced_prompts: ["a slow pan"] };
    return { body, headers: await sessionOf(scene, person) };
  },
  scale: asService(() => ({ run_type: "gpu", target_wait_seconds: 30 })),
  async "worker-heartbeat"(scene) {
    const { person, run } = await startRun(scene);
    const body = {
      worker_id: run.worker_id,
      status: "active",
      current_model: "qwen",
      vram_total_mb: 24_000,
      tasks: [{ task_id: run.task_id, attempt: run.attempt }],
      logs: [{ timestamp: new Date().toISOString(), level: "INFO", message: "loaded" }],
    };
    return { body, headers: await tokenOf(scene, person) };
  },
  async "fal-webhook"(scene) {
    const { sql, fakeFal } = scene;
    const { run } = await startRun(scene);
    const [model, key] = ["fal-ai/z-image/turbo", randomUUID()];
    const job: FalJob = {
      requestId: randomUUID(),
      model,
      input: {},
      webhook: undefined,
      steps: ["ended"],
      result: { status: 200, body: pictures([fakeFal.file(`/files/${key}.png`)]) },
      isCancelled: false,
      isWithdrawn: false,
      timesAsked: 0,
    };
    await sql`insert into provider_jobs (task_id, provider, model, request_id, submitted_at, attempt, by_owner)
      values (${run.task_id}, 'fal', ${model}, ${job.requestId}, now(), 1, true)`;
    return fakeFal.news(job);
  },
  async "grant-credits"(scene) {
    const { userId } = await scene.someone();
    const body = { userId, amount: 5, description: "goodwill", idempotency_key: randomUUID() };
    return { body, headers: serviceOf(scene) };
  },
  "stripe-checkout": asSomeone(() => ({
    amount: 50,
    autoTopupEnabled: true,
    autoTopupAmount: 20,
    autoTopupThreshold: 4.5,
    autoTopupMonthlyCap: 200,
  })),
  "setup-auto-topup": asSomeone(() => ({
    autoTopupEnabled: true,
    autoTopupAmount: 20,
    autoTopupThreshold: 5,
    autoTopupMonthlyCap: 100,
  })),
  async "trigger-auto-topup"(scene) {
    const { userId } = await createUser(scene.sql, 10_000_000);
    await switchOnAutoTopup(scene.sql, scene.fakeStripe, userId);
    return { body: { userId }, headers: serviceOf(scene) };
  },
  async "resolve-billing-alert"(scene) {
    const { userId } = await createUser(scene.sql, 0);
    const checkout = await makeCheckout(scene, userId);
    checkout.pay({ amount: 1_200 });
    const { body, headers } = scene.fakeStripe.signed(checkout.event("checkout.session.completed"));
    await scene.tellStripe(body, headers);
    const [alert] = await scene.sql<{ id: string }[]>`
      select id from billing_alerts where subject = ${checkout.intentId()}`;
    return {
      body: { alert_id: alert?.id, resolution: "dismiss", note: "the shop's price was changed" },
      headers: serviceOf(scene),
    };
  },
  "reconcile-payments": asService(() => ({
    from: new Date(Date.now() - 1_000).toISOString(),
    to: new Date(Date.now() + 60_000).toISOString(),
    heal: true,
  })),
  "list-billing-alerts": asService(() => ({ state: "open", limit: 10 })),
  async "confirm-checkout"(scene) {
    const person = await scene.someone();
    const { session, pay } = await makeCheckout(scene, person.userId);
    pay();
    return { body: { sessionId: session.id }, headers: await sessionOf(scene, person) };
  },
  async "stripe-webhook"(scene) {
    const { userId } = await createUser(scene.sql, 0);
    const checkout = await makeCheckout(scene, userId);
    checkout.pay();
    return scene.fakeStripe.signed(checkout.event("checkout.session.completed"));
  },
  "publish-price": asService(() => ({
    task_type: "qwen_image",
    billing_type: "per_unit",
    price: 4.2,
    reason: "dearer GPUs",
    idempotency_key: randomUUID(),
  })),
  "list-prices": () => Promise.resolve({ body: {}, headers: {} }),
  "credit-balance": asSomeone(() => ({})),
  "credit-statement": asSomeone(() => ({ limit: 10, format: "json" })),
  async "get-receipt"(scene) {
    const person = await scene.someone();
    const [entry] = await scene.sql<{ id: string }[]>`
      select id from credits_ledger where user_id = ${person.userId} order by sequence desc limit 1`;
    return { body: { entry_id: entry?.id, format: "json" }, headers: await sessionOf(scene, person) };
  },
  "create-promo-code": asService(() => ({
    code: promoCode(),
    credits: 250,
    max_uses: 3,
    description: "spring",
  })),
  async "redeem-promo-code"(scene) {
    const { sql } = scene;
    const person = await createUser(sql, 0);
    const code = promoCode();
    await sql`update auth.users set is_anonymous = false, email_confirmed_at = now(),
                     email = ${`ada@${randomUUID()}.example`} where id = ${person.userId}`;
    await sql`insert into promo_codes (code, amount_microusd, max_uses, description, created_by)
      values (${code}, 2500000, 3, 'spring', 'campaign')`;
    return { body: { code }, headers: await sessionOf(scene, person) };
  },
  "set-spend-cap": asSomeone(({ projectId }) => ({ project_id: projectId, cap: 1_000_000 })),
  "run-doctor": asService(() => ({ limit: 10 })),
  "delete-abandoned-files": asService(() => ({})),
  "generate-pat": asSomeone(() => ({ label: "studio", scopes: ["tasks:run"], expires_in_days: 30 })),
  "list-pats": asSomeone(() => ({})),
  async "revoke-pat"(scene) {
    const person = await createUser(scene.sql);
    const { id } = await newTokenOf(scene, person);
    return { body: { tokenId: id }, headers: await sessionOf(scene, person) };
  },
  async "create-webhook"(scene) {
    const person = await createUser(scene.sql);
    const body = { project_id: person.projectId, url: scene.receiverUrl, events: ["task.complete"] };
    return { body, headers: await sessionOf(scene, person) };
  },
  "list-webhooks": asSomeone(({ projectId }) => ({ project_id: projectId })),
  "update-webhook": withWebhook((webhook_id, { receiverUrl: url }) => ({
    webhook_id,
    url,
    description: "moved",
  })),
  "delete-webhook": withWebhook((webhook_id) => ({ webhook_id })),
  "rotate-webhook-secret": withWebhook((webhook_id) => ({ webhook_id, overlap_seconds: 60 })),
  "list-webhook-deliveries": withWebhook((webhook_id) => ({ webhook_id, limit: 10 })),
  "redeliver-webhook": withWebhook((webhook_id, _, delivery_id) => ({ webhook_id, delivery_id })),
  "test-webhook": withWebhook((webhook_id) => ({ webhook_id })),
  "deliver-webhooks": asService(() => ({ at_most: 10 })),
  "withdraw-provider-jobs": asService(() => ({ at_most: 10 })),
  "run-provider-tasks": asService(() => ({ seconds: 1 })),
  "publish-provider-price": asService(() => ({
    provider: "fal",
    model: "fal-ai/qwen-image",
    unit: "megapixel",
    price_microusd: 20_000,
    reason: "FAL's page",
    idempotency_key: randomUUID(),
  })),
  "list-provider-prices": asService(() => ({})),
  "provider-margin": asService(() => ({ format: "json" })),
  "provider-withdrawals": asService(() => ({ provider: "fal", at_most: 10 })),
};

function promoCode(): string {
  return `T${randomUUID().replaceAll("-", "").slice(0, 20).toUpperCase()}`;
}

function serviceOf({ serviceKey }: RequestScene): Record<string, string> {
  return { authorization: `Bearer ${serviceKey}` };
}

async function sessionOf(scene: RequestScene, { userId }: TestUser): Promise<Record<string, string>> {
  return { authorization: `Bearer ${await scene.session(userId)}` };
}

async function newTokenOf({ sql }: RequestScene, { userId }: TestUser) {
  const text = newToken();
  const scopes = ["tasks:read", "tasks:write", "tasks:run"];
  const [row] = await sql<{ made: { id: string } }[]>`
    select generate_pat(${userId}, ${await hashToken(text)}, ${text.slice(-4)}, 'campaign', ${scopes}) as made`;
  return { id: row?.made.id ?? "", text };
}

async function tokenOf(scene: RequestScene, person: TestUser): Promise<Record<string, string>> {
  return { authorization: `Bearer ${(await newTokenOf(scene, person)).text}` };
}

function asService(bodyOf: () => object): Maker {
  return (scene) => Promise.resolve({ body: bodyOf(), headers: serviceOf(scene) });
}

function asSomeone(bodyOf: (person: TestUser) => object): Maker {
  return async (scene) => {
    const person = await scene.someone();
    return { body: bodyOf(person), headers: await sessionOf(scene, person) };
  };
}

function withTask(bodyOf: (taskId: string) => object, taskType = "z_image_turbo"): Maker {
  return async (scene) => {
    const person = await scene.someone();
    const params = taskType === "travel_orchestrator" ? {} : { prompt: "a fox" };
    const taskId = await queueTask(scene.sql, person, { taskType, params });
    return { body: bodyOf(taskId), headers: await sessionOf(scene, person) };
  };
}

/** A task that a new person's own worker runs. */
async function startRun(scene: RequestScene) {
  const person = await createUser(scene.sql);
  const task_id = await queueTask(scene.sql, person);
  const worker_id = `worker-of-${task_id}`;
  const claimed = await claim(scene.sql, worker_id, person.userId);
  return { person, run: { task_id, worker_id, attempt: claimed?.attempt ?? 0 } };
}

function withRun(bodyOf: () => object): Maker {
  return async (scene) => {
    const { person, run } = await startRun(scene);
    return { body: { ...run, ...bodyOf() }, headers: await tokenOf(scene, person) };
  };
}

function withWebhook(bodyOf: (webhookId: string, scene: RequestScene, deliveryId: string) => object): Maker {
  return async (scene) => {
    const person = await createUser(scene.sql);
    const webhook = await createWebhook(scene.sql, person, { url: scene.receiverUrl });
    const [deliveryId = ""] = await sendTests(scene.sql, webhook);
    return { body: bodyOf(webhook.id, scene, deliveryId), headers: await sessionOf(scene, person) };
  };
}

/** How many of each, in proportion: these read everything that is there, or call others. */
export const shares: Record<string, number> = {
  "run-doctor": 0.05,
  "reconcile-payments": 0.05,
  "deliver-webhooks": 0.3,
  "withdraw-provider-jobs": 0.3,
  "run-provider-tasks": 0.2,
  "task-counts": 0.5,
  scale: 0.5,
};
