import assert from "node:assert/strict";
import { after as atEnd, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { spendDownTo, topupsOf } from "../../support/auto-topups.ts";
import { invoke, type Person, post, service, signUp, succeed } from "../../support/calls.ts";
import { hosts, type HostUnderTest } from "../../support/hosts.ts";

interface Checkout {
  checkoutUrl: string;
  sessionId: string;
  userId: string;
}

interface TopupEvent {
  status: string;
  reason: string | null;
}

for (const { name, start } of hosts) {
  describe(`checkout and automatic top-ups on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    atEnd(() => host?.stop());

    test("a browser opens a checkout, saves a card with it, and is topped up when the balance falls", async () => {
      const person = await signUp(host);
      const events = await topupEvents(person);
      const request = { amount: 12.34, autoTopupEnabled: true, autoTopupAmount: 20, autoTopupThreshold: 5 };
      const { sessionId, checkoutUrl, userId } = await succeed(
        invoke<Checkout>(person, "stripe-checkout", request),
      );
      assert.equal(userId, person.userId);
      assert.match(checkoutUrl, /^https:\/\/checkout\.stripe\.com\//);
      const { payment_intent } = host.fakeStripe.pay(sessionId);
      const paid = host.fakeStripe.books.find("payment_intent", String(payment_intent));
      assert.deepEqual([paid.amount, paid.metadata["userId"]], [1234, person.userId]);
      await deliverEvents();
      const { data } = await person.client.from("users").select("*").single();
      const user = data as Record<string, unknown>;
      // With the welcome bonus.
      assert.equal(user["credits"], 500 + 1234);
      assert.equal(user["auto_topup_enabled"], true);
      assert.equal(user["auto_topup_setup_completed"], true);
      assert.deepEqual([user["auto_topup_amount"], user["auto_topup_threshold"]], [2000, 500]);
      assert.doesNotMatch(JSON.stringify(user), /cus_|pm_/, "Stripe's ids are not the browser's");
      const theft = await person.client
        .from("users")
        .update({ auto_topup_amount: 500 })
        .eq("id", person.userId);
      assert.equal(theft.error?.code, "42501");

      await spendDownTo(host.sql, person.userId, 3_000_000);
      const [topup] = await topped(person.userId);
      assert.equal(topup?.state, "succeeded");
      const intents = host.fakeStripe.books.all("payment_intent");
      assert.deepEqual(
        intents
          .filter(({ customer }) => customer === paid.customer)
          .map(({ amount, status }) => [amount, status]),
        [
          [2000, "succeeded"],
          [1234, "succeeded"],
        ],
      );
      await events.until(({ status }) => status === "succeeded");
      await deliverEvents();
      const { data: after } = await person.client.from("users").select("credits").single();
      assert.deepEqual(after, { credits: 300 + 2000 });
    });

    test("a declined card switches it off, and the browser hears of it", async () => {
      const person = await signUp(host);
      const events = await topupEvents(person);
      const { customer, card } = host.fakeStripe.customerWithCard("authentication_required");
      await host.sql`select add_credit(${person.userId}, 'manual', 20000000)`;
      await host.sql`select save_payment_method(${person.userId}, ${customer.id}, ${card.id})`;
      const settings = { autoTopupEnabled: true, autoTopupAmount: 20, autoTopupThreshold: 5 };
      await succeed(invoke(person, "setup-auto-topup", settings));
      await spendDownTo(host.sql, person.userId, 1_000_000);
      const [request] = await topped(person.userId);
      assert.deepEqual([request?.state, request?.reason], ["declined", "authentication_required"]);
      await events.until(
        ({ status, reason }) => status === "disabled" && reason === "authentication_required",
      );
      const { data } = await person.client
        .from("users")
        .select("auto_topup_enabled, auto_topup_disabled_reason, auto_topup_setup_completed")
        .single();
      assert.deepEqual(data, {
        auto_topup_enabled: false,
        auto_topup_disabled_reason: "authentication_required",
        auto_topup_setup_completed: true,
      });
    });

    /** Stripe tells everything that it has told before, and what is new. */
    async function deliverEvents(): Promise<void> {
      for (const event of host.fakeStripe.events()) {
        const answer = await host.fakeStripe.deliver(event, `${host.apiUrl}/functions/v1/stripe-webhook`);
        assert.equal(answer.status, 200, await answer.text());
      }
    }

    /** On Node the host charges by itself; on Deno the timer of Supabase has the function called. */
    async function topped(userId: string) {
      for (;;) {
        const requests = await topupsOf(host.sql, userId);
        if (requests.some(({ state }) => state !== "requested")) return requests;
        if (name === "Deno") await succeed(post(host, "trigger-auto-topup", {}, service(host)));
        else await pause(50);
      }
    }

    /** What this person's browser hears of top-ups, from the moment it listens. */
    async function topupEvents({ client, userId, jwt }: Person) {
      const heard: TopupEvent[] = [];
      await client.realtime.setAuth(jwt);
      const channel = client.channel(`credits:${userId}`, { config: { private: true } });
      channel.on(
        "broadcast",
        { event: "auto_topup" },
        ({ payload }) => void heard.push(payload as TopupEvent),
      );
      await new Promise<void>((resolve, reject) => {
        channel.subscribe((status, error) => {
          if (status === "SUBSCRIBED") resolve();
          else if (status !== "CLOSED") reject(error ?? new Error(status));
        });
      });
      return {
        async until(fits: (event: TopupEvent) => boolean): Promise<void> {
          for (let look = 0; !heard.some(fits); look++) {
            if (look === 400) throw new Error(`heard only ${JSON.stringify(heard)}`);
            await pause(25);
          }
        },
      };
    }
  });
}
