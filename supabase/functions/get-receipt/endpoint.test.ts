import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { claim, complete, queueTask, type TestUser } from "../../../test/support/factories.ts";
import { getReceiptEndpoint } from "./endpoint.ts";

/** A task that is done and paid for. */
async function paidTask({ sql }: EndpointUnderTest, owner: TestUser): Promise<string> {
  const task = await queueTask(sql, owner, { taskType: "qwen_image", params: { prompt: "a fox" } });
  await claim(sql, "cloud-1");
  await complete(sql, task);
  return task;
}

async function newestEntry({ sql }: EndpointUnderTest, userId: string): Promise<string> {
  const [entry] = await sql<{ id: string }[]>`
    select id from credits_ledger where user_id = ${userId} order by sequence desc limit 1`;
  return entry?.id ?? "";
}

describeEndpoint(getReceiptEndpoint, {
  async accepted(under) {
    const owner = await under.person();
    return {
      body: { entry_id: await newestEntry(under, owner.userId), format: "json" },
      credentials: owner.session,
    };
  },
  cases: {
    "200: a task's charge, line by line, by task and by entry, for all who may read it": async (under) => {
      const { call, person, service } = under;
      const owner = await person();
      const task_id = await paidTask(under, owner);
      const { body } = await call({ task_id }, owner.session);
      const entry = body["entry"] as Record<string, unknown>;
      assert.deepEqual(
        [entry["type"], entry["amount_microusd"], entry["task_id"]],
        ["spend", -39_000, task_id],
      );
      assert.deepEqual(
        [body["task_type"], body["currency"], body["total"], body["total_microusd"]],
        ["qwen_image", "usd", 3.9, 39_000],
      );
      const lines = body["lines"] as Record<string, unknown>[];
      assert.deepEqual(
        lines.map(({ item, quantity, unit, total_microusd }) => [item, quantity, unit, total_microusd]),
        [["qwen_image", 1, "output", 39_000]],
      );
      assert.match(String(body["receipt_number"]), /^[0-9A-F]{12}-2$/);
      const { credentials } = await owner.token(["tasks:read"]);
      for (const reader of [owner.session, credentials]) {
        assert.deepEqual((await call({ entry_id: entry["id"] }, reader)).body, body);
      }
      // What it cost at providers is for the operator alone.
      assert.deepEqual((await call({ entry_id: entry["id"] }, service)).body, {
        ...body,
        provider_cost_microusd: 0,
      });
      const query = `?task_id=${task_id}`;
      assert.deepEqual((await call(undefined, owner.session, { method: "GET", query })).body, body);
    },
    "200: of a prompt, by its call and by its entry, for its payer alone": async (under) => {
      const { sql, call, person, refused } = under;
      const owner = await person();
      await sql`select publish_price('ai-prompt', 'per_unit', 2500, '{}', null, 'test', 'test', ${randomUUID()})`;
      const [opened] = await sql<{ call_id: string }[]>`
        select open_paid_call(${owner.userId}, null, null, 'ai-prompt', 3, null, null) ->> 'call_id' as call_id`;
      const call_id = opened?.call_id ?? "";
      await refused("entry_not_found", { call_id }, owner.session);
      await sql`select close_paid_call(${call_id}, 2)`;
      const { body } = await call({ call_id }, owner.session);
      const [{ unit, quantity, each_microusd, total_microusd } = {}] = body["lines"] as Record<
        string,
        unknown
      >[];
      assert.deepEqual([unit, quantity, each_microusd, total_microusd], ["output", 2, 2_500, 5_000]);
      assert.deepEqual([body["task_type"], body["total_microusd"]], ["ai-prompt", 5_000]);
      const { id } = body["entry"] as { id: string };
      assert.deepEqual((await call({ entry_id: id }, owner.session)).body, body);
      assert.match(
        (await call({ call_id, format: "html" }, owner.session)).text,
        new RegExp(`Call ${call_id}`),
      );
      await refused("entry_not_found", { call_id }, (await person()).session);
      await refused("invalid_request", { call_id, entry_id: id }, owner.session);
    },
    "200: of a gift, with the seller that the operator named": async (under) => {
      const { call, person } = under;
      const { userId, session } = await person({ balanceMicrousd: 250_000 });
      const environment = { receiptSeller: "Darkroom Ltd\\n1 Main Street\nDublin" };
      const { body } = await call({ entry_id: await newestEntry(under, userId) }, session, { environment });
      assert.deepEqual(body["seller"], ["Darkroom Ltd", "1 Main Street", "Dublin"]);
      assert.deepEqual([body["total"], body["lines"], body["grants_drawn"]], [25, [], []]);
    },
    "200: a page to print; whatever people wrote is text in it, and nothing runs": async (under) => {
      const { sql, call, person } = under;
      const { userId, session } = await person();
      const name = `<script>alert("name")</script>`;
      await sql`update users set name = ${name} where id = ${userId}`;
      const description = `"><img src=x onerror=alert(1)> & more`;
      await sql`select add_credit(${userId}, 'manual', 12345678, metadata => ${sql.json({ description })})`;
      const environment = { receiptSeller: "Fox & <b>Co</b>" };
      const body = { entry_id: await newestEntry(under, userId), format: "html" };
      const { text, headers } = await call(body, session, { environment });
      assert.equal(headers.get("content-type"), "text/html; charset=utf-8");
      assert.ok(text.includes("&lt;script&gt;alert(&quot;name&quot;)&lt;/script&gt;"));
      assert.ok(text.includes("&quot;&gt;&lt;img src=x onerror=alert(1)&gt; &amp; more"));
      assert.ok(text.includes("Fox &amp; &lt;b&gt;Co&lt;/b&gt;"));
      assert.doesNotMatch(text, /<(script|img|b|iframe|link)\b|href=|src="/i);
      assert.ok(text.includes("$12.345678"));
      const style = /<style>([^]*?)<\/style>/.exec(text)?.[1] ?? "";
      const hash = createHash("sha256").update(style).digest("base64");
      assert.equal(
        headers.get("content-security-policy"),
        `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      );
      assert.equal(headers.get("x-content-type-options"), "nosniff");
    },
    "200: a page of a task's charge has its lines": async (under) => {
      const { call, person } = under;
      const owner = await person();
      const { text } = await call({ task_id: await paidTask(under, owner), format: "html" }, owner.session);
      assert.match(text, /qwen_image[^]*1 output[^]*\$0\.039[^]*Total[^]*\$0\.039/);
    },
    "400 invalid_request: neither or both": async ({ refused, person }) => {
      const { session } = await person();
      await refused("invalid_request", {}, session);
      await refused("invalid_request", { entry_id: randomUUID(), task_id: randomUUID() }, session);
      await refused("invalid_request", { entry_id: randomUUID(), format: "pdf" }, session);
    },
    "404 entry_not_found: unknown and foreign alike, and a task that cost nothing": async (under) => {
      const { sql, refused, person } = under;
      const [owner, other] = [await person(), await person()];
      const task_id = await paidTask(under, owner);
      const entry_id = await newestEntry(under, owner.userId);
      for (const theirs of [other.session, (await other.token()).credentials]) {
        const answers = [];
        for (const body of [
          { task_id },
          { entry_id },
          { task_id: randomUUID() },
          { entry_id: randomUUID() },
        ]) {
          const { body: answer } = await refused("entry_not_found", body, theirs);
          answers.push({ ...answer, request_id: "" });
        }
        assert.equal(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1);
      }
      await refused("entry_not_found", { task_id: await queueTask(sql, owner) }, owner.session);
    },
  },
});
