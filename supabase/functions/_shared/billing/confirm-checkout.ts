import { callingUser, type Database, json } from "../database/database.ts";
import { readSession } from "./payment-facts.ts";
import { askStripe, type StripeAccess } from "./stripe.ts";

export interface ConfirmedCheckout {
  sessionId: string;
  /** As Stripe has it: the form, and the money. */
  status: string;
  paymentStatus: string;
  /** Whether the credit is on the account. */
  credited: boolean;
  credits: number;
}

/**
 * What became of the caller's checkout, asked by the page that people come back to. Where it is paid and the event has not come
 * yet, this records it; both come to the same one credit.
 */
export async function confirmCheckout(
  database: Pick<Database, "call">,
  stripe: StripeAccess,
  sessionId: string,
): Promise<ConfirmedCheckout> {
  await database.call("find_checkout", { for_user: callingUser, session_id: sessionId });
  const session = await askStripe(stripe, (client) => client.checkout.sessions.retrieve(sessionId));
  // None where nobody has begun to pay.
  const reading = readSession(session, { isFresh: true });
  const facts = reading.kind === "facts" ? reading.facts : undefined;
  const told = await database.call<{ credited: boolean; credits: number }>("confirm_checkout", {
    for_user: callingUser,
    session_id: sessionId,
    facts: facts ? json(facts) : null,
  });
  return {
    sessionId,
    status: session.status ?? "open",
    paymentStatus: session.payment_status,
    credited: told.credited,
    credits: told.credits,
  };
}
