import { type Database, json } from "../database/database.ts";
import { serviceActor } from "./actor.ts";

/** What a provider bills; fields are columns of `provider_prices`. */
export interface NewProviderPrice {
  price: {
    provider: string;
    model: string;
    unit: string;
    price_microusd: number;
    variant_prices?: Record<string, number> | undefined;
    minimum_units?: number | undefined;
    job_fee_microusd?: number | undefined;
    note?: string | undefined;
    source_url?: string | undefined;
    /** ISO 8601; default: now. */
    valid_from?: string | undefined;
  };
  reason: string;
  /** The operator who decided it; default: the service key's role. */
  actor: string | undefined;
  idempotencyKey: string;
}

/** A new version of what a provider bills for a model. Jobs that were submitted before keep their cost. */
export async function publishProviderPrice(
  database: Pick<Database, "call">,
  { price, reason, actor, idempotencyKey }: NewProviderPrice,
): Promise<Record<string, unknown>> {
  return await database.call("publish_provider_price", {
    price: json(price),
    actor: actor ?? serviceActor,
    reason,
    idempotency_key: idempotencyKey,
  });
}

/** What each model costs the operator now, and what is announced; of one provider or of all. */
export async function listProviderPrices(
  database: Pick<Database, "call">,
  provider: string | undefined,
): Promise<Record<string, unknown>> {
  return await database.call("list_provider_prices", { for_provider: provider ?? null });
}
