import { callingUser, type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Log } from "../observability/log.ts";
import { chargeAutoTopup, type ClaimedTopup, type TopupOutcome } from "./charge-auto-topup.ts";
import type { AutoTopup } from "./fields.ts";
import { readIntent } from "./payment-facts.ts";
import { type StripeAccess, stripeClient } from "./stripe.ts";

type Calls = Pick<Database, "call">;

/** Switches automatic top-ups on as wanted, or off. */
export async function setupAutoTopup(
  database: Calls,
  wanted: AutoTopup | undefined,
): Promise<Record<string, unknown>> {
  return await database.call("setup_auto_topup", {
    for_user: callingUser,
    enabled: wanted !== undefined,
    amount_cents: wanted?.amountCents,
    threshold_cents: wanted?.thresholdCents,
    monthly_cap_cents: wanted?.monthlyCapCents,
  });
}

/** What charging needs. */
export interface Till {
  database: Calls;
  stripe: StripeAccess;
  log: Log;
}

export interface TopupResult {
  userId: string;
  status: "success" | "failed" | "error" | "rate_limited";
  amount?: number;
  dollarAmount?: number;
  paymentIntentId?: string;
  error?: string;
  message?: string;
}

export interface TopupReport {
  success: true;
  summary: {
    totalProcessed: number;
    successful: number;
    failed: number;
    errors: number;
    rateLimited: number;
  };
  results: TopupResult[];
  next_after: string | null;
}

/** One user's top-up, if it is due. */
export async function topUpUser(till: Till, userId: string): Promise<TopupReport> {
  await stripeClient(till.stripe);
  const asked = await till.database.call<string>("request_auto_topup", { for_user: userId });
  if (asked === "unknown_user") throw new AppError("user_not_found");
  // An earlier request that is due for another attempt is charged as well.
  const [charged] = await chargeClaimed(till, 1, userId);
  return reportOf([charged ?? refusedResult(userId, asked)], null);
}

/** A page of those who are due, and whatever else is, until nothing is left or the time is used up. */
export async function topUpAll(
  till: Till,
  { after, deadline }: { after: string | undefined; deadline: number },
): Promise<TopupReport> {
  await stripeClient(till.stripe);
  const page = await requestDue(till.database, after);
  const charged = await chargeDue(till, deadline);
  const seen = new Set(charged.map(({ userId }) => userId));
  const refused = page.outcomes
    .filter(({ user_id, outcome }) => outcome !== "requested" && !seen.has(user_id))
    .map(({ user_id, outcome }) => refusedResult(user_id, outcome));
  return reportOf([...charged, ...refused], page.next_after);
}

/** A page of users, and what became of those whose balance is low. */
interface DuePage {
  outcomes: { user_id: string; outcome: string }[];
  next_after: string | null;
}

/** Asks for the top-ups of a page of users whose balance is low. */
export async function requestDue(database: Calls, after: string | undefined): Promise<DuePage> {
  return await database.call<DuePage>("request_due_auto_topups", { after_user: after });
}

const atOnce = 8;

/** Charges what is due, some at a time, until nothing is or the time is used up. */
export async function chargeDue(till: Till, deadline: number): Promise<TopupResult[]> {
  const results: TopupResult[] = [];
  while (Date.now() < deadline) {
    const charged = await chargeClaimed(till, atOnce);
    if (charged.length === 0) break;
    results.push(...charged);
  }
  return results;
}

async function chargeClaimed(till: Till, atMost: number, userId?: string): Promise<TopupResult[]> {
  const claimed = await till.database.call<ClaimedTopup[]>("claim_auto_topups", {
    at_most: atMost,
    for_user: userId,
  });
  return await Promise.all(claimed.map((request) => charge(till, request)));
}

/** One attempt, and the note of it. What is not noted is tried again, with the same key, when the claim has run out. */
async function charge({ database, stripe, log }: Till, request: ClaimedTopup): Promise<TopupResult> {
  try {
    const outcome = await chargeAutoTopup(await stripeClient(stripe), request);
    const recorded = await recordOutcome(database, request, outcome);
    if (recorded !== outcome)
      log.error({ auto_topup_request: request.id }, "a top-up's payment is quarantined");
    return resultOf(request, recorded);
  } catch (error) {
    log.error({ err: error, auto_topup_request: request.id }, "an automatic top-up was not noted");
    return { userId: request.user_id, status: "error", error: "internal_error" };
  }
}

async function recordOutcome(
  database: Calls,
  request: ClaimedTopup,
  outcome: TopupOutcome,
): Promise<TopupOutcome> {
  const { intent } = outcome;
  let recorded = outcome;
  if (outcome.outcome === "succeeded" && intent) {
    const reading = readIntent(intent, { isFresh: true });
    // The same function that its event goes through: whichever comes first credits it, and closes the request.
    const { state } =
      reading.kind === "facts"
        ? await database.call<{ state: string }>("record_payment", {
            facts: json(reading.facts),
            told_at: new Date(intent.created * 1000).toISOString(),
          })
        : { state: "unreadable" };
    if (state === "handled") return outcome;
    // Somebody has to look at it; when they release it, the request is closed as paid.
    recorded = { outcome: "failed", intent, reason: "quarantined" };
  }
  await database.call("record_auto_topup", {
    for_request: request.id,
    for_claim: request.claim_id,
    outcome: recorded.outcome,
    payment_intent_id: intent?.id,
    reason: recorded.reason,
  });
  return recorded;
}

function resultOf(
  { user_id: userId, amount_cents: amount }: ClaimedTopup,
  { outcome, intent, reason = "unknown" }: TopupOutcome,
): TopupResult {
  if (outcome === "succeeded") {
    const paymentIntentId = intent?.id ?? "";
    return { userId, status: "success", amount, dollarAmount: amount / 100, paymentIntentId };
  }
  if (outcome === "pending") return { userId, status: "error", error: reason };
  return { userId, status: "failed", error: reason, message: messages[reason] ?? "The payment failed." };
}

const messages: Record<string, string> = {
  card_declined: "The card was declined.",
  expired_card: "The card has expired.",
  authentication_required: "The bank asks for authentication, which only the card's owner can give.",
  card_removed: "The card is not saved any more.",
  customer_removed: "The customer does not exist any more.",
  not_enabled: "Automatic top-ups are off.",
  above_threshold: "The balance is above the threshold.",
  no_card: "No card is saved.",
  monthly_cap_reached: "The month's cap is reached.",
};

function refusedResult(userId: string, asked: string): TopupResult {
  if (asked === "rate_limited" || asked === "requested") {
    return { userId, status: "rate_limited", message: "One top-up an hour, and one at a time." };
  }
  return { userId, status: "failed", error: asked, message: messages[asked] ?? asked };
}

function reportOf(results: TopupResult[], nextAfter: string | null): TopupReport {
  const count = (status: TopupResult["status"]) => results.filter((one) => one.status === status).length;
  return {
    success: true,
    summary: {
      totalProcessed: results.length,
      successful: count("success"),
      failed: count("failed"),
      errors: count("error"),
      rateLimited: count("rate_limited"),
    },
    results,
    next_after: nextAfter,
  };
}
