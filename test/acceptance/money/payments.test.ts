/** From the checkout to the credit, to the refund, the debt and the reconciler, over HTTP, on both hosts alike. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type Stripe from "stripe";
import { spendDownTo } from "../../support/auto-topups.ts";
import { createProject, invoke, post, service, signUp, succeed } from "../../support/calls.ts";
import { hosts, type HostUnderTest } from "../../support/hosts.ts";
import { booksOf, moneyFaults } from "../../support/payments.ts";
import { Transcript } from "../../support/transcript.ts";

const transcripts: Transcript["steps"][] = [];

for (const { name, start } of hosts) {
  describe(`payments on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("what is paid is credited once, to who asked for it; what is given back is taken back; what was lost is found", async () => {
      const transcript = new Transcript(host.apiUrl);
      const { fakeStripe, sql } = host;
      const [ada, stranger] = [await signUp(host), await signUp(host)];
      const projectId = await createProject(ada);

      const noted = async (step: string, call: Promise<{ status: number; body: unknown }>) => {
        const { status, body } = await call;
        transcript.note(step, { status, body: withoutRequestId(body) });
        return { status, body: body as Record<string, unknown> };
      };
      const buy = async (amount: number) => {
        const { body } = await noted(`checkout of $${amount}`, invoke(ada, "stripe-checkout", { amount }));
        const sessionId = String(body["sessionId"]);
        const intentId = () => String(fakeStripe.books.find("session", sessionId).payment_intent);
        return { sessionId, intentId };
      };
      const deliver = async (step: string, event: Stripe.Event | undefined) => {
        assert.ok(event, step);
        const response = await fakeStripe.deliver(event, `${host.apiUrl}/functions/v1/stripe-webhook`);
        return await noted(
          step,
          response.json().then((body: unknown) => ({ status: response.status, body })),
        );
      };
      const told = (type: string) => fakeStripe.events(type).at(-1);
      const books = async (step: string) => {
        const found = await booksOf(sql, ada.userId);
        transcript.note(step, found);
        return found;
      };

      // With the welcome bonus of 500 credits.
      const first = await buy(20);
      const confirmed = { sessionId: first.sessionId };
      await noted("the page, before anybody paid", invoke(ada, "confirm-checkout", confirmed));
      fakeStripe.pay(first.sessionId);
      const theft = await noted("a stranger's page", invoke(stranger, "confirm-checkout", confirmed));
      assert.equal(theft.status, 404);
      const completed = told("checkout.session.completed") as Stripe.CheckoutSessionCompletedEvent;
      const renamed = structuredClone(completed);
      renamed.id = renamed.id.replace(/.{8}$/, "99999999");
      renamed.data.object.metadata = { ...renamed.data.object.metadata, userId: stranger.userId };
      assert.equal((await deliver("signed, for a stranger", renamed)).body["state"], "quarantined");
      assert.equal((await booksOf(sql, stranger.userId)).balance, 5_000_000);
      const forged = await post(host, "stripe-webhook", JSON.stringify(completed), {
        "stripe-signature": "t=1,v1=0",
      });
      assert.equal(forged.status, 400);
      assert.equal((await books("nothing yet")).balance, 5_000_000);

      await deliver("paid", completed);
      await deliver("paid, again", completed);
      await deliver("paid, by its payment", told("payment_intent.succeeded"));
      await noted("the page, after it", invoke(ada, "confirm-checkout", confirmed));
      assert.equal((await books("paid once")).balance, 25_000_000);

      fakeStripe.refund(first.intentId(), 500);
      await deliver("refunded in part", told("refund.created"));
      assert.equal((await books("refunded in part")).balance, 20_000_000);
      await spendDownTo(sql, ada.userId, 3_000_000);
      fakeStripe.refund(first.intentId());
      await deliver("refunded in full, after it was spent", told("charge.refunded"));
      assert.deepEqual(await books("in debt"), { balance: 0, debt: 12_000_000, entries: 5 });
      const order = { project_id: projectId, task_type: "z_image_turbo", params: { prompt: "a fox" } };
      const held = await noted("a task, in debt", invoke(ada, "create-task", order));
      assert.deepEqual([held.status, held.body["error"]], [402, "account_in_debt"]);

      const second = await buy(30);
      fakeStripe.pay(second.sessionId);
      await deliver("paid, which pays the debt", told("checkout.session.completed"));
      assert.deepEqual(await books("out of debt"), { balance: 18_000_000, debt: 0, entries: 7 });
      await succeed(invoke(ada, "create-task", order));
      const dispute = fakeStripe.dispute(second.intentId(), 1_000);
      await deliver("disputed", told("charge.dispute.created"));
      assert.equal((await books("disputed")).balance, 8_000_000);
      fakeStripe.changeDispute(dispute.id, "won");
      await deliver("won", told("charge.dispute.closed"));
      assert.equal((await books("won")).balance, 18_000_000);

      // Nobody is told of this one. Up to a minute from now, for what was made in this second is not before it.
      const window = { to: new Date(Date.now() + 60_000).toISOString() };
      const third = await buy(7.77);
      fakeStripe.pay(third.sessionId);
      const found = await noted("reconciled", post(host, "reconcile-payments", window, service(host)));
      const [lost, ...others] = found.body["differences"] as { fault: string; healed: boolean }[];
      assert.deepEqual([lost?.fault, lost?.healed, others], ["payment_not_recorded", true, []]);
      await noted("reconciled again", post(host, "reconcile-payments", window, service(host)));
      assert.equal((await books("found")).balance, 25_770_000);

      const alerts = await noted("alerts", post(host, "list-billing-alerts", {}, service(host)));
      const [alert] = alerts.body["alerts"] as { id: string; reason: string }[];
      assert.equal(alert?.reason, "unknown_user");
      const resolution = { alert_id: alert?.id, resolution: "dismiss", note: "a test of ours" };
      await noted("dismissed", post(host, "resolve-billing-alert", resolution, service(host)));
      assert.deepEqual((await succeed(post(host, "list-billing-alerts", {}, service(host))))["alerts"], []);

      const entries = await sql`
        select type, amount_microusd::float8 as microusd, debt_microusd::float8 as debt, metadata
          from credits_ledger where user_id = ${ada.userId} order by sequence`;
      transcript.note(
        "the ledger",
        entries.map((entry) => ({ ...entry })),
      );
      assert.deepEqual(await moneyFaults(sql), []);
      transcripts.push(transcript.steps);
    });
  });
}

test("both hosts answer and book the same", () => {
  const [node, deno] = transcripts;
  assert.ok(node && deno);
  assert.ok(node.length > 25);
  assert.deepEqual(deno, node);
});

/** Each answer has its own. */
function withoutRequestId(body: unknown): unknown {
  if (typeof body !== "object" || body === null) return body;
  const { request_id: _, ...rest } = body as Record<string, unknown>;
  return rest;
}
