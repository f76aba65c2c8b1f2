import type Stripe from "stripe";
import type { Database } from "../../supabase/functions/_shared/database/database.ts";
import { bind } from "../../supabase/functions/_shared/http/bind.ts";
import type { Endpoint } from "../../supabase/functions/_shared/http/endpoint.ts";
import { confirmCheckoutEndpoint } from "../../supabase/functions/confirm-checkout/endpoint.ts";
import { reconcilePaymentsEndpoint } from "../../supabase/functions/reconcile-payments/endpoint.ts";
import { stripeCheckoutEndpoint } from "../../supabase/functions/stripe-checkout/endpoint.ts";
import { stripeWebhookEndpoint } from "../../supabase/functions/stripe-webhook/endpoint.ts";
import { triggerAutoTopupEndpoint } from "../../supabase/functions/trigger-auto-topup/endpoint.ts";
import { type EnvironmentUnderTest, type PersonUnderTest, startEnvironment } from "./environment.ts";
import { type FakeStripe, type FakeStripeOptions, startFakeStripe } from "./fake-stripe.ts";
import type { SigningOptions } from "./fake-stripe/signed-events.ts";
import { type CheckoutMade, makeCheckout } from "./payments.ts";

export interface ShopAnswer {
  status: number;
  body: Record<string, unknown>;
}

export interface Purchase extends CheckoutMade {
  buyer: PersonUnderTest;
}

/** The endpoints of payments, on a database of their own, with Stripe played. */
export interface Shop extends EnvironmentUnderTest {
  fakeStripe: FakeStripe;
  /** Somebody new with an open checkout. */
  purchase(cents: number): Promise<Purchase>;
  /** Sends an event to `stripe-webhook`, signed by Stripe. */
  send(event: Stripe.Event, signing?: Partial<SigningOptions>): Promise<ShopAnswer>;
  post(text: string, headers: Record<string, string>): Promise<ShopAnswer>;
  /** `send` of an endpoint that reaches the database in another way. */
  sendOver(database: Database): (event: Stripe.Event) => Promise<ShopAnswer>;
  /** Asks for a page to pay on. */
  checkout(buyer: PersonUnderTest, body: object): Promise<ShopAnswer>;
  /** What the success page asks. */
  confirm(purchase: Purchase): Promise<ShopAnswer>;
  reconcile(body: object): Promise<ShopAnswer>;
  /** Charges whatever automatic top-ups are due. */
  topUp(): Promise<ShopAnswer>;
}

export async function withShop(
  run: (shop: Shop) => Promise<void>,
  options?: FakeStripeOptions,
): Promise<void> {
  const fakeStripe = await startFakeStripe(options);
  const under = await startEnvironment({
    billing: { ...fakeStripe.variables, FRONTEND_URL: "https://app.darkroom.test" },
  });
  const ask = (endpoint: Endpoint, { database }: { database: Database } = under.environment) => {
    // A test sends in seconds what comes in hours.
    const contract = { ...endpoint.contract, requestsPerMinute: 1_000_000 };
    const serve = bind({ ...endpoint, contract }, { ...under.environment, database });
    return async (text: string, headers: Record<string, string>): Promise<ShopAnswer> => {
      const answer = await serve(
        new Request(`${under.apiUrl}/functions/v1/${contract.name}`, {
          method: "POST",
          body: text,
          headers: { "content-type": "application/json", ...headers },
        }),
      );
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    };
  };
  const post = ask(stripeWebhookEndpoint);
  const checkout = ask(stripeCheckoutEndpoint);
  const confirm = ask(confirmCheckoutEndpoint);
  const reconcile = ask(reconcilePaymentsEndpoint);
  const topUp = ask(triggerAutoTopupEndpoint);
  const shop: Shop = {
    ...under,
    fakeStripe,
    async purchase(cents) {
      const buyer = await under.person({ balanceMicrousd: 0 });
      return { buyer, ...(await makeCheckout({ sql: under.sql, fakeStripe }, buyer.userId, { cents })) };
    },
    async send(event, signing) {
      const { body, headers } = fakeStripe.signed(event, signing);
      return await post(body, headers);
    },
    post,
    sendOver(database) {
      const postOver = ask(stripeWebhookEndpoint, { database });
      return async (event) => {
        const { body, headers } = fakeStripe.signed(event);
        return await postOver(body, headers);
      };
    },
    checkout: async (buyer, body) => await checkout(JSON.stringify(body), buyer.session),
    confirm: async ({ buyer, session }) =>
      await confirm(JSON.stringify({ sessionId: session.id }), buyer.session),
    reconcile: async (body) => await reconcile(JSON.stringify(body), under.service),
    topUp: async () => await topUp("{}", under.service),
  };
  try {
    await run(shop);
  } finally {
    await Promise.all([under.close(), fakeStripe.close()]);
  }
}
