import assert from "node:assert/strict";
import {
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomUUID,
} from "node:crypto";
import { after, before, describe, test } from "node:test";
import { importJWK, type JWK, type JWTPayload, SignJWT } from "jose";
import { endpoints } from "../../server/functions/registry.ts";
import {
  type Answer,
  base64,
  bearer,
  claimTask,
  complete,
  type Credentials,
  invoke,
  type Person,
  personWithProject,
  type PersonalToken,
  post,
  queueTask,
  refused,
  service,
  succeed,
  tokenOf,
} from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";
import { sessionClaims, sessionToken } from "../support/session-token.ts";

/** Who calls. The tasks, projects and tokens that bodies name are the owner's. */
const principals = [
  "nobody",
  "anonKey",
  "owner",
  "otherUser",
  "ownersToken",
  "othersToken",
  "revokedToken",
  "service",
] as const;
type Principal = (typeof principals)[number];

/** Two people, what is the owner's, and everybody's credentials. */
interface World {
  host: HostUnderTest;
  owner: Person & { projectId: string };
  token: PersonalToken;
  credentials: Record<Principal, Credentials>;
}

interface Row extends Record<Principal, string> {
  /** A request that is right for whoever may make it; asked anew for each, for it may be used up. */
  body(world: World): Promise<Record<string, unknown>>;
}

const output = { filename: "output.png", file_data: base64(png()) };

/** The same everywhere: these say nothing about who calls. */
const strangers = {
  nobody: "401 unauthenticated",
  anonKey: "401 unauthenticated",
  revokedToken: "401 unauthenticated",
};

/** What only operators do. */
const serviceAlone = {
  ...strangers,
  owner: "403 forbidden",
  otherUser: "403 forbidden",
  ownersToken: "403 forbidden",
  othersToken: "403 forbidden",
  service: "200",
};

/** Where it does not matter who calls, nor whether what they show is still good. */
const everybody = everybodyIs("200");
function everybodyIs(answer: string): Record<Principal, string> {
  return Object.fromEntries(principals.map((principal) => [principal, answer])) as Record<Principal, string>;
}

/** What is the owner's and the service's to do, with no token; for another user there is nothing. */
function forOwnersOf(missing: string): Record<Principal, string> {
  return {
    ...strangers,
    owner: "200",
    otherUser: `404 ${missing}`,
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "200",
  };
}
function readersOf(code: string) {
  return { owner: "200", otherUser: code, ownersToken: "200", othersToken: code, service: "200" };
}
/** What is for operators. */
function serviceOnly(service: string): Record<Principal, string> {
  return {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service,
  };
}
/** What is nobody's in particular. */
const anybodyKnown = {
  ...strangers,
  owner: "200",
  otherUser: "200",
  ownersToken: "200",
  othersToken: "200",
  service: "200",
};
const readersOfTasks = readersOf("404 task_not_found");
const readersOfProjects = readersOf("404 project_not_found");

/** What each caller is answered by each endpoint: the one place where this is written. */
const table: Record<string, Row> = {
  "create-task": {
    ...strangers,
    owner: "200",
    otherUser: "404 project_not_found",
    ownersToken: "200",
    othersToken: "404 project_not_found",
    service: "200",
    body: ({ owner }) =>
      Promise.resolve({ task_type: "z_image_turbo", params: {}, project_id: owner.projectId }),
  },
  "single-image-generate": {
    ...strangers,
    owner: "201",
    otherUser: "404 project_not_found",
    ownersToken: "201",
    othersToken: "404 project_not_found",
    service: "201",
    body: ({ owner }) => Promise.resolve({ prompt: "a fox", project_id: owner.projectId }),
  },
  "steerable-motion": {
    ...strangers,
    owner: "201",
    otherUser: "404 project_not_found",
    ownersToken: "201",
    othersToken: "404 project_not_found",
    service: "201",
    body: ({ owner }) =>
      Promise.resolve({
        project_id: owner.projectId,
        image_urls: ["https://media.example/a.png", "https://media.example/b.png"],
        base_prompts: ["a walk"],
        segment_frames: [61],
        frame_overlap: [10],
      }),
  },
  // What Stripe signs, and nobody else.
  "stripe-webhook": {
    ...everybodyIs("400 invalid_signature"),
    body: () =>
      Promise.resolve({
        id: "evt_1",
        object: "event",
        type: "charge.refunded",
        created: 1,
        livemode: false,
        data: {},
      }),
  },
  // The same of FAL.
  "fal-webhook": {
    ...everybodyIs("400 invalid_signature"),
    body: () => Promise.resolve({ request_id: randomUUID(), status: "OK", payload: {} }),
  },
  "confirm-checkout": {
    ...strangers,
    owner: "404 checkout_not_found",
    otherUser: "404 checkout_not_found",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "403 forbidden",
    body: () => Promise.resolve({ sessionId: "cs_test_unknown" }),
  },
  "list-billing-alerts": { ...serviceOnly("200"), body: () => Promise.resolve({}) },
  "delete-abandoned-files": { ...serviceOnly("200"), body: () => Promise.resolve({}) },
  "reconcile-payments": {
    ...serviceOnly("200"),
    body: () => Promise.resolve({ from: "2026-01-01T00:00:00Z", to: "2026-01-02T00:00:00Z" }),
  },
  "resolve-billing-alert": {
    ...serviceOnly("404 alert_not_found"),
    body: () => Promise.resolve({ alert_id: randomUUID(), resolution: "dismiss", note: "seen" }),
  },
  "ai-prompt": {
    ...anybodyKnown,
    body: () => Promise.resolve({ task: "generate_summary", promptText: "a fox" }),
  },
  "ai-voice-prompt": {
    ...anybodyKnown,
    body: () => Promise.resolve({ textInstructions: "a fox" }),
  },
  "calculate-task-cost": {
    ...strangers,
    owner: "200",
    otherUser: "404 task_not_found",
    ownersToken: "200",
    othersToken: "404 task_not_found",
    service: "200",
    body: async (world) => ({ task_id: await queued(world) }),
  },
  "get-task-status": {
    ...strangers,
    owner: "200",
    otherUser: "404 task_not_found",
    ownersToken: "200",
    othersToken: "404 task_not_found",
    service: "200",
    body: async (world) => ({ task_id: await queued(world) }),
  },
  "queue-position": {
    ...strangers,
    owner: "200",
    otherUser: "404 task_not_found",
    ownersToken: "200",
    othersToken: "404 task_not_found",
    service: "200",
    body: async (world) => ({ task_id: await queued(world) }),
  },
  "task-counts": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "200",
    othersToken: "200",
    service: "200",
    body: () => Promise.resolve({ run_type: "gpu" }),
  },
  scale: {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "200",
    body: () => Promise.resolve({}),
  },
  "get-task-output": {
    ...strangers,
    ...readersOfTasks,
    body: async (world) => ({ task_id: await queued(world) }),
  },
  "get-predecessor-output": {
    ...strangers,
    ...readersOfTasks,
    body: async (world) => ({ task_id: await queued(world) }),
  },
  "get-orchestrator-children": {
    ...strangers,
    ...readersOfTasks,
    body: async (world) => ({ orchestrator_task_id: await queued(world) }),
  },
  "get-completed-segments": {
    ...strangers,
    ...readersOfProjects,
    body: ({ owner }) => Promise.resolve({ run_id: "a run", project_id: owner.projectId }),
  },
  "tasks-list": {
    ...strangers,
    ...readersOfProjects,
    body: ({ owner }) => Promise.resolve({ projectId: owner.projectId }),
  },
  "update-shot-pair-prompts": {
    ...strangers,
    ...readersOf("404 shot_not_found"),
    body: async (world) => ({ shot_id: await newShot(world), enhanced_prompts: ["a slow pan"] }),
  },
  "claim-next-task": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "200",
    othersToken: "204",
    service: "200",
    body: async (world) => {
      await queued(world);
      return { worker_id: "worker-1", run_type: "api" };
    },
  },
  "generate-upload-url": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "409 stale_attempt",
    othersToken: "404 task_not_found",
    service: "200",
    body: async (world) => ({
      task_id: await inTheCloud(world),
      filename: "output.png",
      content_type: "image/png",
    }),
  },
  complete_task: {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "200",
    othersToken: "404 task_not_found",
    service: "409 stale_attempt",
    body: async (world) => ({ task_id: await atHome(world), ...output }),
  },
  "update-task-status": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "404 task_not_found",
    ownersToken: "409 stale_attempt",
    othersToken: "404 task_not_found",
    service: "200",
    body: async (world) => ({ task_id: await inTheCloud(world), status: "In Progress", progress: 0.5 }),
  },
  "update-worker-model": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "200",
    body: () => Promise.resolve({ worker_id: "cloud-1", current_model: null }),
  },
  "worker-heartbeat": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "200",
    othersToken: "200",
    service: "200",
    body: async (world) => ({ worker_id: "worker-1", tasks: [{ task_id: await inTheCloud(world) }] }),
  },
  "grant-credits": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "200",
    body: ({ owner }) =>
      Promise.resolve({
        userId: owner.userId,
        amount: 1,
        description: "goodwill",
        idempotency_key: randomUUID(),
      }),
  },
  "publish-price": {
    ...serviceAlone,
    body: () =>
      Promise.resolve({
        task_type: "qwen_image",
        billing_type: "per_unit",
        price: 3.9,
        reason: "for the tests",
        idempotency_key: randomUUID(),
      }),
  },
  "credit-balance": {
    ...strangers,
    ...readersOf("403 forbidden"),
    body: ({ owner }) => Promise.resolve({ user_id: owner.userId }),
  },
  "credit-statement": {
    ...strangers,
    ...readersOf("403 forbidden"),
    body: ({ owner }) => Promise.resolve({ user_id: owner.userId }),
  },
  "get-receipt": {
    ...strangers,
    ...readersOf("404 entry_not_found"),
    body: async (world) => ({ entry_id: await firstEntry(world) }),
  },
  "create-promo-code": {
    ...serviceAlone,
    body: () => Promise.resolve(newPromoCode()),
  },
  "redeem-promo-code": {
    ...strangers,
    owner: "200",
    otherUser: "200",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "403 forbidden",
    body: async ({ host }) => {
      const promo = newPromoCode();
      await succeed(post(host, "create-promo-code", promo, service(host)));
      return { code: promo.code };
    },
  },
  "set-spend-cap": {
    ...forOwnersOf("project_not_found"),
    body: ({ owner }) => Promise.resolve({ project_id: owner.projectId, cap: 1_000_000 }),
  },
  "run-doctor": { ...serviceAlone, body: () => Promise.resolve({ limit: 10 }) },
  "list-prices": { ...everybody, body: () => Promise.resolve({}) },
  "list-provider-prices": { ...serviceAlone, body: () => Promise.resolve({}) },
  "publish-provider-price": {
    ...serviceAlone,
    body: () =>
      Promise.resolve({
        provider: "fal",
        model: "fal-ai/qwen-image",
        unit: "megapixel",
        price_microusd: 20_000,
        reason: "FAL's page",
        idempotency_key: randomUUID(),
      }),
  },
  "provider-margin": { ...serviceAlone, body: () => Promise.resolve({ format: "json" }) },
  "stripe-checkout": {
    ...strangers,
    owner: "200",
    otherUser: "200",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "403 forbidden",
    body: () => Promise.resolve({ amount: 5 }),
  },
  "setup-auto-topup": {
    ...strangers,
    owner: "200",
    otherUser: "200",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "403 forbidden",
    body: () => Promise.resolve({ autoTopupEnabled: false }),
  },
  "trigger-auto-topup": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "200",
    body: ({ owner }) => Promise.resolve({ userId: owner.userId }),
  },
  "generate-pat": {
    ...strangers,
    owner: "200",
    otherUser: "200",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "403 forbidden",
    body: () => Promise.resolve({ label: "another" }),
  },
  "list-pats": {
    ...strangers,
    owner: "200",
    otherUser: "200",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "403 forbidden",
    body: () => Promise.resolve({}),
  },
  "revoke-pat": {
    ...strangers,
    owner: "200",
    otherUser: "404 token_not_found",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "403 forbidden",
    body: async ({ owner }) => ({ tokenId: (await tokenOf(owner)).id }),
  },
  "create-webhook": {
    ...forOwnersOf("project_not_found"),
    body: ({ owner }) => Promise.resolve({ project_id: owner.projectId, url: "http://127.0.0.1:9/" }),
  },
  "list-webhooks": {
    ...forOwnersOf("project_not_found"),
    body: ({ owner }) => Promise.resolve({ project_id: owner.projectId }),
  },
  "update-webhook": {
    ...forOwnersOf("webhook_not_found"),
    body: async (world) => ({ webhook_id: await webhookOf(world), description: "changed" }),
  },
  "delete-webhook": {
    ...forOwnersOf("webhook_not_found"),
    body: async (world) => ({ webhook_id: await webhookOf(world) }),
  },
  "rotate-webhook-secret": {
    ...forOwnersOf("webhook_not_found"),
    body: async (world) => ({ webhook_id: await webhookOf(world) }),
  },
  "list-webhook-deliveries": {
    ...forOwnersOf("webhook_not_found"),
    body: async (world) => ({ webhook_id: await webhookOf(world) }),
  },
  "redeliver-webhook": {
    ...forOwnersOf("webhook_not_found"),
    body: async (world) => ({ webhook_id: await webhookOf(world), failed_since: "2026-01-01T00:00:00Z" }),
  },
  "test-webhook": {
    ...forOwnersOf("webhook_not_found"),
    body: async (world) => ({ webhook_id: await webhookOf(world) }),
  },
  "deliver-webhooks": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "200",
    body: () => Promise.resolve({ at_most: 1 }),
  },
  "withdraw-provider-jobs": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "403 forbidden",
    othersToken: "403 forbidden",
    service: "200",
    body: () => Promise.resolve({ at_most: 1 }),
  },
  "run-provider-tasks": {
    ...serviceAlone,
    body: () => Promise.resolve({ seconds: 1, wait: true }),
  },
  "provider-withdrawals": {
    ...strangers,
    owner: "403 forbidden",
    otherUser: "403 forbidden",
    ownersToken: "200",
    othersToken: "200",
    service: "200",
    body: () => Promise.resolve({ provider: "fal", at_most: 1 }),
  },
};

test("the table speaks of every endpoint that is served, and of no other", () => {
  const served = endpoints.map(({ contract }) => contract.name);
  assert.deepEqual(Object.keys(table).toSorted(), served.toSorted());
});

for (const { name, start } of hosts) {
  describe(`who may do what on ${name}`, () => {
    let host: HostUnderTest;
    let world: World;
    before(async () => {
      host = await start();
      world = await createWorld(host);
    });
    after(() => host?.stop());

    for (const [endpoint, { body, ...expected }] of Object.entries(table)) {
      test(`${endpoint} answers each of ${principals.length} callers by the table`, async () => {
        const seen: Record<string, string> = {};
        for (const principal of principals) {
          // Minting is limited to ten a minute, which this is not about.
          await host.sql`delete from rate_limits`;
          const answer = await post(host, endpoint, await body(world), world.credentials[principal]);
          seen[principal] = [answer.status, answer.body["error"]].filter(Boolean).join(" ");
          await endRuns(world);
        }
        assert.deepEqual(seen, expected);
      });
    }

    test("the service is known by its secret key in apikey, alone or repeated, and not as bearer alone", async () => {
      const { secretKey, publishableKey, jwtSecret } = host.keys;
      const task_id = await queued(world);
      const ask = (credentials: Credentials) => post(host, "get-task-status", { task_id }, credentials);
      await succeed(ask({ apikey: secretKey }));
      await succeed(ask({ apikey: secretKey, ...bearer(secretKey) }));
      for (const credentials of [
        bearer(secretKey),
        { apikey: publishableKey },
        { apikey: publishableKey, ...bearer(publishableKey) },
        { apikey: publishableKey, ...bearer(secretKey) },
        { apikey: `${secretKey}x` },
        { apikey: secretKey.slice(0, -1) },
        { apikey: jwtSecret },
        // A wrong bearer is not mended by a right key beside it.
        { apikey: secretKey, ...bearer("wrong") },
      ]) {
        await refused(ask(credentials), 401, "unauthenticated");
      }
      // Browsers send the publishable key beside their session, the session decides.
      await succeed(ask({ apikey: publishableKey, ...world.credentials.owner }));
    });

    test("forged, expired and foreign sessions are nobody's", async () => {
      const task_id = await queued(world);
      const ask = (token: string) => post(host, "get-task-status", { task_id }, bearer(token));
      const { userId } = world.owner;
      await succeed(ask(await sessionToken(host, userId)));
      await succeed(ask(await signed(sessionClaims(host.apiUrl, userId), host.keys.jwtSecret)));

      for (const [what, token] of Object.entries(await forgeries(host, userId))) {
        const answer = await ask(token);
        assert.equal(`${answer.status} ${String(answer.body["error"])}`, "401 unauthenticated", what);
      }
    });

    test("a token of A on what is B's is answered byte for byte as on what does not exist", async () => {
      const { owner } = world;
      const [running, waiting] = [await inTheCloud(world), await queued(world)];
      const file = { filename: "output.png", content_type: "image/png" };
      const storage_path = `${owner.userId}/tasks/${running}/1-output.png`;
      const asks: [string, Principal, string, (id: string) => Record<string, unknown>][] = [];
      for (const principal of ["othersToken", "otherUser"] as const) {
        for (const task of [running, waiting]) {
          asks.push(
            ["get-task-status", principal, task, (task_id) => ({ task_id })],
            ["calculate-task-cost", principal, task, (task_id) => ({ task_id })],
            ["get-task-output", principal, task, (task_id) => ({ task_id })],
            ["get-predecessor-output", principal, task, (task_id) => ({ task_id })],
            ["get-orchestrator-children", principal, task, (id) => ({ orchestrator_task_id: id })],
            ["update-task-status", principal, task, (task_id) => ({ task_id, status: "Cancelled" })],
          );
        }
        asks.push(
          [
            "create-task",
            principal,
            owner.projectId,
            (project_id) => ({ task_type: "qwen_image", params: {}, project_id }),
          ],
          ["tasks-list", principal, owner.projectId, (project_id) => ({ project_id })],
          [
            "get-completed-segments",
            principal,
            owner.projectId,
            (project_id) => ({ run_id: "a run", project_id }),
          ],
        );
      }
      for (const task of [running, waiting]) {
        asks.push(
          ["generate-upload-url", "othersToken", task, (task_id) => ({ task_id, ...file })],
          ["complete_task", "othersToken", task, (task_id) => ({ task_id, ...output })],
          ["complete_task", "othersToken", task, (task_id) => ({ task_id, storage_path })],
        );
      }
      const webhook = await webhookOf(world);
      for (const endpoint of [
        "update-webhook",
        "delete-webhook",
        "rotate-webhook-secret",
        "list-webhook-deliveries",
        "test-webhook",
      ]) {
        asks.push([endpoint, "otherUser", webhook, (webhook_id) => ({ webhook_id })]);
      }
      const url = "http://127.0.0.1:9/";
      asks.push(
        ["create-webhook", "otherUser", owner.projectId, (project_id) => ({ project_id, url })],
        ["list-webhooks", "otherUser", owner.projectId, (project_id) => ({ project_id })],
      );
      const shot = await newShot(world);
      for (const principal of ["otherUser", "othersToken"] as const) {
        asks.push([
          "update-shot-pair-prompts",
          principal,
          shot,
          (shot_id) => ({ shot_id, enhanced_prompts: ["theirs"] }),
        ]);
      }
      for (const principal of ["otherUser", "othersToken"] as const) {
        asks.push(["get-receipt", principal, await firstEntry(world), (entry_id) => ({ entry_id })]);
      }
      asks.push(
        ["set-spend-cap", "otherUser", owner.projectId, (project_id) => ({ project_id, cap: 1 })],
        ["set-spend-cap", "otherUser", world.token.id, (token_id) => ({ token_id, cap: 1 })],
      );
      asks.push(["revoke-pat", "otherUser", world.token.id, (tokenId) => ({ tokenId })]);

      for (const [endpoint, principal, foreign, body] of asks) {
        const credentials = { ...world.credentials[principal], "x-request-id": "the-same" };
        const [theirs, missing] = [
          await post(host, endpoint, body(foreign), credentials),
          await post(host, endpoint, body(randomUUID()), credentials),
        ];
        assert.equal(theirs.status, 404, theirs.text);
        assert.deepEqual(comparable(theirs), comparable(missing), endpoint);
      }
      await endRuns(world);
    });

    test("what browsers read over REST is their own", async () => {
      const task = await queued(world);
      const stranger = await personWithProject(host);
      for (const relation of [
        "tasks",
        "archived_tasks",
        "all_tasks",
        "projects",
        "users",
        "credits_ledger",
        "personal_access_tokens",
        "shots",
        "shot_generations",
      ]) {
        const { data } = await stranger.client.from(relation).select();
        const rows = JSON.stringify(data ?? []);
        assert.ok(!rows.includes(world.owner.userId) && !rows.includes(task), relation);
      }
    });

    test("a token's text is in no table and in no log", async () => {
      const { owner, token, credentials } = world;
      // In every place where a caller could put it, and in every kind of answer.
      await succeed(post(host, "list-pats", {}, owner.credentials));
      await post(host, "get-task-status", { task_id: randomUUID() }, token.credentials);
      await post(host, "create-task", { task_type: 5 }, token.credentials);
      await post(host, "list-pats", {}, token.credentials);
      const task_id = await atHome(world);
      await complete(host, token.credentials, task_id);
      const doomed = await tokenOf(owner);
      await succeed(invoke(owner, "revoke-pat", { tokenId: doomed.id }));
      await post(host, "get-task-status", { task_id }, doomed.credentials);

      const dump = await dumpOf(host);
      // That the dump is one: what is kept of the token is there.
      const [kept] = await host.sql<{ hash: string }[]>`
        select encode(token_hash, 'hex') as hash from personal_access_tokens where id = ${token.id}`;
      assert.ok(kept && dump.includes(kept.hash) && dump.includes(task_id));
      const logged = host.logged();
      for (const { token: secret } of [token, doomed]) {
        for (const form of [secret, Buffer.from(secret).toString("hex"), base64(Buffer.from(secret))]) {
          assert.ok(!dump.includes(form), "in a table");
          assert.ok(!logged.includes(form), "in the log");
        }
      }
      for (const secret of [credentials.owner, credentials.service]) {
        assert.ok(!logged.includes(String(secret["authorization"]).slice("Bearer ".length)), "in the log");
      }
      assert.ok(!logged.includes(host.keys.secretKey));
    });
  });
}

/** A shot of the owner's, made as their browser makes it. */
async function newShot({ owner }: World): Promise<string> {
  const { data, error } = await owner.client
    .from("shots")
    .insert({ project_id: owner.projectId })
    .select("id")
    .single();
  assert.equal(error, null);
  return (data as { id: string }).id;
}

function newPromoCode() {
  return { code: `T${randomUUID().slice(0, 18)}`, credits: 5, max_uses: 2, description: "for the tests" };
}

/** What opened the owner's account: the welcome bonus. */
async function firstEntry({ host, owner }: World): Promise<string> {
  const [entry] = await host.sql<{ id: string }[]>`
    select id from credits_ledger where user_id = ${owner.userId} and sequence = 1`;
  return entry?.id ?? "";
}

async function createWorld(host: HostUnderTest): Promise<World> {
  const [owner, other] = [await personWithProject(host), await personWithProject(host)];
  const [token, othersToken, revoked] = [await tokenOf(owner), await tokenOf(other), await tokenOf(owner)];
  await succeed(invoke(owner, "revoke-pat", { tokenId: revoked.id }));
  // More tasks are made here than the welcome bonus pays for; and the other has nothing to claim.
  const grant = { userId: owner.userId, amount: 100, description: "for the tests" };
  await succeed(post(host, "grant-credits", { ...grant, idempotency_key: randomUUID() }, service(host)));
  return {
    host,
    owner,
    token,
    credentials: {
      nobody: {},
      anonKey: { apikey: host.keys.anonKey, ...bearer(host.keys.anonKey) },
      owner: owner.credentials,
      otherUser: other.credentials,
      ownersToken: token.credentials,
      othersToken: othersToken.credentials,
      revokedToken: revoked.credentials,
      service: service(host),
    },
  };
}

async function queued({ host, owner }: World): Promise<string> {
  return (await queueTask(host, owner)).task_id;
}

/** A task of the owner's, in progress with the cloud's worker. */
async function inTheCloud(world: World): Promise<string> {
  const task = await queued(world);
  await claimTask(world.host, service(world.host), task);
  return task;
}

/** A task of the owner's, in progress with their own worker. */
async function atHome(world: World): Promise<string> {
  const task = await queued(world);
  await claimTask(world.host, world.token.credentials, task, { worker_id: "home-1" });
  return task;
}

/** A webhook of the owner's, the only one: a project has at most ten. */
async function webhookOf({ host, owner }: World): Promise<string> {
  await host.sql`delete from webhook_endpoints`;
  const body = { project_id: owner.projectId, url: "http://127.0.0.1:9/", events: ["task.failed"] };
  const made = await succeed(post(host, "create-webhook", body, owner.credentials));
  return String(made["webhook_id"]);
}

/** Ends what waits and runs: one user has no more than five running tasks. */
async function endRuns({ host, owner }: World): Promise<void> {
  const open = await host.sql<{ id: string }[]>`
    select id from tasks where user_id = ${owner.userId} and status in ('Queued', 'In Progress')`;
  for (const { id } of open) {
    await succeed(post(host, "update-task-status", { task_id: id, status: "Cancelled" }, owner.credentials));
  }
}

function comparable({ status, text, headers }: Answer): unknown {
  return { status, text, type: headers.get("content-type"), length: headers.get("content-length") };
}

/** Tokens that would be somebody's if one check were missing; each named by that check. */
async function forgeries(host: HostUnderTest, userId: string): Promise<Record<string, string>> {
  const { apiUrl, keys } = host;
  const now = Math.floor(Date.now() / 1000);
  const session = (claims?: Record<string, unknown>) => sessionToken(host, userId, claims);
  const claims = sessionClaims(apiUrl, userId);
  const genuine = await session();
  const [head = "", payload = "", signature = ""] = genuine.split(".");
  const publicKey = createPublicKey({ key: keys.signingJwk as JsonWebKey, format: "jwk" });
  const foreign = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const { kid } = keys.signingJwk;
  return {
    "another payload": [head, encode({ ...claims, sub: randomUUID() }), signature].join("."),
    "no signature": `${head}.${payload}.`,
    "alg none": `${encode({ alg: "none", typ: "JWT" })}.${payload}.`,
    "alg none with a signature": `${encode({ alg: "none", kid })}.${payload}.${signature}`,
    "another key under the known kid": await signed(claims, foreign, { alg: "ES256", kid }),
    "another key under an unknown kid": await signed(claims, foreign, { alg: "ES256", kid: "new" }),
    "its own key in the header": await signed(claims, foreign, {
      alg: "ES256",
      jwk: createPublicKey(foreign).export({ format: "jwk" }) as JWK,
    }),
    "HS256 with the public key as PEM": await signed(
      claims,
      publicKey.export({ type: "spki", format: "pem" }).toString(),
      { alg: "HS256", kid },
    ),
    "HS256 with the public key as JWK": await signed(
      claims,
      JSON.stringify(publicKey.export({ format: "jwk" })),
      { alg: "HS256", kid },
    ),
    "HS256 with another secret": await signed(claims, `${keys.jwtSecret}x`),
    "HS256 with the anon key": await signed(claims, keys.anonKey),
    "HS512 with the secret": await signed(claims, keys.jwtSecret, { alg: "HS512" }),
    expired: await session({ exp: now - 1 }),
    "not yet valid": await session({ nbf: now + 3600 }),
    "without an end": await session({ exp: undefined }),
    "another audience": await session({ aud: "anon" }),
    "no audience": await session({ aud: undefined }),
    "another issuer": await session({ iss: "https://other.example/auth/v1" }),
    "no issuer": await session({ iss: undefined }),
    "no subject": await session({ sub: undefined }),
    "a subject that is no user": await session({ sub: "' or true --" }),
    "role service_role": await session({ role: "service_role" }),
    "role anon": await session({ role: "anon" }),
    "no role": await session({ role: undefined }),
    "a service key of its own making": await signed(
      { role: "service_role", iss: "supabase", iat: now, exp: now + 3600 },
      keys.jwtSecret,
    ),
    "a service key with the wrong secret": await signed({ role: "service_role", iss: "supabase" }, "guess"),
  };
}

async function signed(
  claims: JWTPayload,
  key: string | KeyObject,
  header: { alg: string; kid?: string; jwk?: JWK } = { alg: "HS256" },
): Promise<string> {
  const material =
    typeof key === "string"
      ? new TextEncoder().encode(key)
      : await importJWK(key.export({ format: "jwk" }) as JWK, header.alg);
  return await new SignJWT(claims).setProtectedHeader(header).sign(material);
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** Every row of every table, of whatever schema, as text. */
async function dumpOf({ sql }: HostUnderTest): Promise<string> {
  const tables = await sql<{ name: string }[]>`
    select format('%I.%I', nspname, relname) as name
      from pg_class join pg_namespace on pg_namespace.oid = relnamespace
     where relkind in ('r', 'm') and nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`;
  assert.ok(tables.length > 20, "these are all tables");
  const dumps = await Promise.all(
    tables.map(({ name }) => sql.query<{ row: string }[]>(`select t::text as row from ${name} as t`)),
  );
  return dumps.flatMap((rows) => rows.map(({ row }) => row)).join("\n");
}
