import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import {
  base64,
  booksOf,
  claim,
  claimTask,
  complete,
  finishTask,
  invoke,
  personWithProject,
  post,
  queueTask,
  refused,
  service,
  signUp,
  stateOf,
  succeed,
  tokenOf,
} from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";

const welcome = 5_000_000;

for (const { name, start } of hosts) {
  describe(`workers on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("a worker with its owner's token runs the owner's tasks, and they are free", async () => {
      const [owner, other] = [await personWithProject(host), await personWithProject(host)];
      const foreign = await queueTask(host, other);
      const { task_id } = await queueTask(host, owner);
      const { credentials } = await tokenOf(owner, { label: "at home" });
      const claimed = await claim(host, credentials, { worker_id: `home-${name}` });
      assert.equal(claimed?.task_id, task_id);
      assert.equal(await claim(host, credentials, { worker_id: `home-${name}` }), undefined);
      assert.equal((await stateOf(host, task_id)).worker_id, `home-${name}`);

      // The run is the owner's: the cloud's worker is not asked about it.
      const output = { task_id, filename: "a.png", file_data: base64(png()) };
      await refused(post(host, "complete_task", output, service(host)), 409, "stale_attempt");
      const done = await complete(host, credentials, task_id, { attempt: claimed?.attempt });
      assert.equal(done.cost_microusd, 0);
      assert.deepEqual(await booksOf(host, owner.userId), {
        balance: welcome,
        held: 0,
        ledger: [{ type: "manual", amount: welcome, task_id: null }],
      });
      const { data } = await owner.client.from("generations").select("location").throwOnError();
      assert.deepEqual(data, [{ location: done.public_url }]);
      await claimTask(host, service(host), foreign.task_id);
    });

    test("who keeps tasks from the cloud pays nothing, and the cloud is not offered them", async () => {
      const owner = await personWithProject(host);
      await owner.client
        .from("users")
        .update({ settings: { ui: { generationMethods: { inCloud: false, onComputer: true } } } })
        .eq("id", owner.userId)
        .throwOnError();
      const created = await queueTask(host, owner);
      assert.equal(created.held_microusd, 0);
      assert.equal((await booksOf(host, owner.userId)).held, 0);
      assert.equal(await claim(host, service(host), { worker_id: "gpu-1" }), undefined);
      const { credentials } = await tokenOf(owner);
      assert.equal((await claim(host, credentials))?.task_id, created.task_id);
      await complete(host, credentials, created.task_id);
    });

    test("a worker is given tasks for the model it says it has loaded", async () => {
      const person = await personWithProject(host);
      const params = (model: string) => ({ prompt: "a fox", model });
      const older = await queueTask(host, person, { taskType: "single_image", params: params("flux-dev") });
      const newer = await queueTask(host, person, { taskType: "single_image", params: params("qwen") });
      const worker_id = `warm-${name}`;
      // The name that the shipped worker uses, then the documented one.
      for (const [field, action] of [
        ["model", "inserted"],
        ["current_model", "updated"],
      ] as const) {
        const noted = await succeed(
          post(host, "update-worker-model", { worker_id, [field]: "qwen" }, service(host)),
        );
        assert.deepEqual([noted["action"], noted["current_model"]], [action, "qwen"]);
      }
      assert.equal((await claim(host, service(host), { worker_id }))?.task_id, newer.task_id);
      const only = { worker_id, same_model_only: true };
      assert.equal(await claim(host, service(host), only), undefined);
      await succeed(post(host, "update-worker-model", { worker_id, current_model: null }, service(host)));
      assert.equal((await claim(host, service(host), { worker_id }))?.task_id, older.task_id);
    });
  });

  describe(`accounts on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("an operator grants credits, once per key", async () => {
      const { userId } = await signUp(host);
      const grant = { userId, amount: 12.34, description: "a refund", idempotency_key: randomUUID() };
      const first = await succeed(post(host, "grant-credits", grant, service(host)));
      const second = await succeed(post(host, "grant-credits", grant, service(host)));
      assert.equal(first["deduplicated"], false);
      assert.deepEqual(second, { ...first, deduplicated: true });
      await refused(
        post(host, "grant-credits", { ...grant, amount: 1 }, service(host)),
        422,
        "idempotency_key_reused",
      );
      const { balance, ledger } = await booksOf(host, userId);
      assert.equal(balance, welcome + 12_340_000);
      assert.equal(ledger.length, 2);
    });

    test("a user has the welcome bonus once, and grants themselves nothing", async () => {
      const person = await signUp(host);
      const again = await succeed(invoke(person, "grant-credits", { isWelcomeBonus: true }));
      assert.equal(again["deduplicated"], true);
      const grant = { userId: person.userId, amount: 5, description: "please", idempotency_key: "mine" };
      await refused(invoke(person, "grant-credits", grant), 403, "forbidden");
      const other = await signUp(host);
      await refused(
        invoke(person, "grant-credits", { isWelcomeBonus: true, userId: other.userId }),
        403,
        "forbidden",
      );
      assert.equal((await booksOf(host, person.userId)).balance, welcome);
    });

    test("an account that is spent takes no more tasks, and a grant opens it again", async () => {
      const person = await personWithProject(host);
      const order = { taskType: "lora_training", params: {} };
      await queueTask(host, person, order);
      await queueTask(host, person, order);
      const body = { task_type: "z_image_turbo", params: {}, project_id: person.projectId };
      await refused(invoke(person, "create-task", body), 402, "insufficient_credits");
      const grant = { userId: person.userId, amount: 1, reason: "goodwill", idempotency_key: randomUUID() };
      await succeed(post(host, "grant-credits", grant, service(host)));
      const done = await finishTask(host, person);
      assert.equal(done.cost_microusd, 6_500);
      assert.deepEqual((({ balance, held }) => ({ balance, held }))(await booksOf(host, person.userId)), {
        balance: welcome + 1_000_000 - 6_500,
        held: 5_000_000,
      });
    });

    test("a token is shown once, listed without its text, and of no use the moment it is revoked", async () => {
      const person = await personWithProject(host);
      const { id, token, credentials } = await tokenOf(person, { label: "studio", scopes: ["tasks:read"] });
      assert.match(token, /^dr_pat_[0-9A-Za-z]{36}$/);
      const { task_id } = await queueTask(host, person);
      await succeed(post(host, "get-task-status", { task_id }, credentials));
      await refused(post(host, "claim-next-task", {}, credentials), 403, "insufficient_scope");

      const listed = await invoke<{ tokens: Record<string, unknown>[] }>(person, "list-pats", {});
      assert.deepEqual(
        listed.body.tokens.map((known) => [
          known["id"],
          known["label"],
          known["last_four"],
          known["revoked_at"],
        ]),
        [[id, "studio", token.slice(-4), null]],
      );
      assert.ok(listed.body.tokens[0]?.["last_used_at"]);
      assert.ok(!listed.text.includes(token));

      const stranger = await signUp(host);
      await refused(invoke(stranger, "revoke-pat", { tokenId: id }), 404, "token_not_found");
      const revoked = await succeed(invoke(person, "revoke-pat", { tokenId: id }));
      assert.deepEqual(await succeed(invoke(person, "revoke-pat", { token_id: id })), revoked);
      await refused(post(host, "get-task-status", { task_id }, credentials), 401, "unauthenticated");
    });

    test("a token that has expired is of no use", async () => {
      const person = await personWithProject(host);
      const { id, credentials } = await tokenOf(person, { expires_in_days: 1 });
      const { task_id } = await queueTask(host, person);
      await succeed(post(host, "get-task-status", { task_id }, credentials));
      await host.sql`update personal_access_tokens set expires_at = now() where id = ${id}`;
      await refused(post(host, "get-task-status", { task_id }, credentials), 401, "unauthenticated");
    });
  });
}
