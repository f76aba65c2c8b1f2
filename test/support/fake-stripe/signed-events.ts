import { createHmac } from "node:crypto";
import type Stripe from "stripe";

export interface SigningOptions {
  /** One signature each, as Stripe does while a secret is replaced. */
  secrets: readonly string[];
  /** Seconds since the epoch. */
  timestamp?: number;
  /** `v0` is what Stripe sends for test events alone, and nobody may accept. */
  scheme?: "v1" | "v0";
}

export interface SignedEvent {
  body: string;
  headers: Record<string, string>;
}

/** An event as Stripe sends it: its text, and the header that signs exactly this text. */
export function sign(
  event: Stripe.Event,
  { secrets, timestamp, scheme = "v1" }: SigningOptions,
): SignedEvent {
  const body = JSON.stringify(event, null, 2);
  const time = timestamp ?? Math.floor(Date.now() / 1000);
  const signatures = secrets.map((secret) => {
    const digest = createHmac("sha256", secret).update(`${time}.${body}`).digest("hex");
    return `${scheme}=${digest}`;
  });
  return {
    body,
    headers: {
      "content-type": "application/json; charset=utf-8",
      "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
      "stripe-signature": [`t=${time}`, ...signatures].join(","),
    },
  };
}

/** Posts an event, once; a repeat, another order or a lost one is a matter of when and whether this is called. */
export async function deliver(event: Stripe.Event, url: string, options: SigningOptions): Promise<Response> {
  const { body, headers } = sign(event, options);
  return await fetch(url, { method: "POST", body, headers });
}
