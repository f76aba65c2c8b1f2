import { type Database, json } from "../database/database.ts";
import { serviceActor } from "./actor.ts";

export interface NewPrice {
  taskType: string;
  billingType: "per_unit" | "per_second";
  priceMicrousd: number;
  costFactors: Record<string, Record<string, number>>;
  /** Of an output that an earlier run made. */
  reusePriceMicrousd: number;
  cancelPolicy: "consumed" | "free";
  blackedOutPolicy: "free" | "charged";
  /** ISO 8601; now unless said. */
  validFrom: string | undefined;
  reason: string;
  /** Who decided it; the service key's role unless said. */
  actor: string | undefined;
  idempotencyKey: string;
}

/** A new version of a price. What was quoted or created before keeps its own. */
export async function publishPrice(
  database: Pick<Database, "call">,
  price: NewPrice,
): Promise<Record<string, unknown>> {
  return await database.call("publish_price", {
    for_task_type: price.taskType,
    billing_type: price.billingType,
    price_microusd: price.priceMicrousd,
    cost_factors: json(price.costFactors),
    reuse_price_microusd: price.reusePriceMicrousd,
    cancel_policy: price.cancelPolicy,
    blacked_out_policy: price.blackedOutPolicy,
    valid_from: price.validFrom ?? null,
    actor: price.actor ?? serviceActor,
    reason: price.reason,
    idempotency_key: price.idempotencyKey,
  });
}
