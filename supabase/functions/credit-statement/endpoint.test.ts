import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Pool } from "../_shared/database/pool.ts";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { claim, complete, queueTask } from "../../../test/support/factories.ts";
import { creditStatementEndpoint } from "./endpoint.ts";

type Entries = Record<string, unknown>[];

/** So many gifts of one micro-dollar, a few hundred a transaction: long chains of row versions are slow to walk. */
async function gifts(sql: Pool, userId: string, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 500) {
    await sql`select count(add_credit(${userId}, 'manual', 1)) from generate_series(1, ${Math.min(left, 500)})`;
  }
}

const sequences = (entries: unknown) => (entries as Entries).map(({ sequence }) => sequence);

describeEndpoint(creditStatementEndpoint, {
  async accepted(under) {
    const { session } = await under.person();
    return { body: { limit: 10, format: "json", before: 100 }, credentials: session };
  },
  cases: {
    "200: pages, the newest first, each entry once": async ({ sql, call, person }) => {
      const { userId, session } = await person();
      await gifts(sql, userId, 119);
      const first = await call({}, session);
      assert.equal((first.body["entries"] as Entries).length, 50);
      const seen = [...sequences(first.body["entries"])];
      let before = first.body["next_before"];
      while (before !== null) {
        // By GET and by POST alike.
        const query = `?before=${String(before)}&limit=40`;
        const page = await call(undefined, session, { method: "GET", query });
        assert.deepEqual((await call({ before, limit: 40 }, session)).body, page.body);
        seen.push(...sequences(page.body["entries"]));
        before = page.body["next_before"];
      }
      assert.deepEqual(
        seen,
        Array.from({ length: 120 }, (_, index) => 120 - index),
      );
    },
    "200: from a time, this included, to a time, this excluded": async ({ sql, call, person }) => {
      const { userId, session } = await person();
      await gifts(sql, userId, 3);
      await sql.transaction(async (transaction) => {
        await transaction`set local session_replication_role = 'replica'`;
        await transaction`
          update credits_ledger set created_at = '2026-03-01T12:00:00Z'::timestamptz + make_interval(days => sequence::int)
           where user_id = ${userId}`;
      });
      const since = await call({ from: "2026-03-05T13:00:00+01:00" }, session);
      assert.deepEqual(sequences(since.body["entries"]), [4]);
      const until = await call({ to: "2026-03-05T12:00:00Z" }, session);
      assert.deepEqual(sequences(until.body["entries"]), [3, 2, 1]);
    },
    "200: an account without entries has an empty statement": async ({ call, person }) => {
      const { session } = await person({ balanceMicrousd: 0 });
      const { body } = await call({}, session);
      assert.deepEqual([body["entries"], body["next_before"]], [[], null]);
      const csv = await call({ format: "csv" }, session);
      assert.match(csv.text, /^sequence,created_at,.*,entry_id,call_id\r\n$/);
    },
    "200: CSV as RFC 4180 has it; amounts are numbers, texts no formulas": async ({ sql, call, person }) => {
      const owner = await person({ balanceMicrousd: 0 });
      const texts = [
        '=HYPERLINK("http://evil.example")',
        "+1",
        "-1+2",
        "@SUM(A1)",
        "\tx",
        'plain, "quoted"\nline',
        "Grüße",
      ];
      for (const description of texts) {
        await sql`select add_credit(${owner.userId}, 'manual', 10000, metadata => ${sql.json({ description })})`;
      }
      const task = await queueTask(sql, owner);
      await claim(sql, "cloud-1");
      await complete(sql, task);
      const { text, headers } = await call({ format: "csv" }, owner.session);
      assert.equal(headers.get("content-type"), "text/csv; charset=utf-8");
      assert.equal(headers.get("content-disposition"), 'attachment; filename="credit-statement.csv"');
      assert.equal(headers.get("x-next-before"), null);
      const [header, spend, ...gifts] = records(text);
      assert.deepEqual(
        header?.join(),
        [
          "sequence,created_at,type,amount_cents,amount_microusd,balance_after_cents,balance_after_microusd",
          "debt_microusd,task_id,description,entry_id,call_id",
        ].join(),
      );
      assert.deepEqual(spend?.slice(2, 10), [
        "spend",
        "-0.65",
        "-6500",
        "6.35",
        "63500",
        "0",
        task,
        "z_image_turbo",
      ]);
      assert.deepEqual(
        gifts.map((row) => row[9]),
        texts.map((written) => (/^[=+\-@\t]/.test(written) ? `'${written}` : written)).toReversed(),
      );
      assert.equal(gifts.at(-1)?.[3], "1");
    },
    "200: CSV of more than ten thousand entries says where the rest begins": async ({
      sql,
      call,
      person,
    }) => {
      const { userId, session } = await person();
      await gifts(sql, userId, 10_004);
      const first = await call({ format: "csv" }, session);
      const rows = records(first.text).slice(1);
      assert.deepEqual([rows.length, rows[0]?.[0], rows.at(-1)?.[0]], [10_000, "10005", "6"]);
      assert.equal(new Set(rows.map(([sequence]) => sequence)).size, 10_000);
      assert.equal(first.headers.get("x-next-before"), "6");
      assert.match(first.headers.get("access-control-expose-headers") ?? "", /x-next-before/);
      const query = "?format=csv&before=6";
      const rest = await call(undefined, session, { method: "GET", query });
      assert.deepEqual(
        records(rest.text)
          .slice(1)
          .map(([sequence]) => sequence),
        ["5", "4", "3", "2", "1"],
      );
      assert.equal(rest.headers.get("x-next-before"), null);
    },
    "200: a token of the owner's, and the service, which says whose": async ({ call, person, service }) => {
      const { userId, session, token } = await person();
      const own = (await call({}, session)).body;
      assert.deepEqual((await call({}, (await token(["tasks:read"])).credentials)).body, own);
      assert.deepEqual((await call({ user_id: userId }, service)).body, own);
    },
    "400 invalid_request: too many, times that are none, nobody's": async ({ refused, person, service }) => {
      const { session } = await person();
      for (const wrong of [
        { limit: 201 },
        { limit: 0 },
        { limit: 10_001, format: "csv" },
        { before: 0 },
        { from: "yesterday" },
        { to: "2026-02-30T00:00:00Z" },
        { format: "xlsx" },
      ]) {
        await refused("invalid_request", wrong, session);
      }
      await refused("invalid_request", {}, service);
    },
    "403 forbidden: another's": async ({ refused, person }) => {
      const [owner, other] = [await person(), await person()];
      for (const mine of [other.session, (await other.token()).credentials]) {
        for (const format of ["json", "csv"]) {
          const { text } = await refused("forbidden", { user_id: owner.userId, format }, mine);
          assert.doesNotMatch(text, /microusd|manual/);
        }
      }
    },
    "404 user_not_found": async ({ refused, service }) => {
      await refused("user_not_found", { user_id: randomUUID() }, service);
    },
  },
});

/** The records of a CSV text, read by the grammar of RFC 4180; anything else is thrown on. */
function records(text: string): string[][] {
  const rows: string[][] = [[]];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/gy;
  for (let match = field.exec(text); match; match = field.exec(text)) {
    const [, quoted, plain, end] = match;
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain ?? "");
    if (field.lastIndex === text.length) {
      assert.equal(end, "\r\n", "the last record ends as the others do");
      return rows;
    }
    if (end === "\r\n") rows.push([]);
  }
  throw new Error(`This is no CSV: ${text.slice(0, 200)}`);
}
