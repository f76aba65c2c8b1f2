import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import type { FalAccess } from "./fal-access.ts";
import {
  withdrawDue,
  type WithdrawalAnswer,
  type WithdrawalExchange,
  type WithdrawalRequest,
} from "./withdrawals.ts";

/** What a worker says of jobs that it withdraws, and which it gets next: of its owner, or the service's. */
export async function exchangeProviderWithdrawals(
  database: Pick<Database, "call">,
  caller: Caller,
  request: WithdrawalRequest,
): Promise<WithdrawalAnswer> {
  return await database.call("exchange_provider_withdrawals", {
    for_user: forUser(caller),
    request: json(request),
  });
}

/** The same for a host, which withdraws by itself. */
export function exchangeOf(database: Pick<Database, "call">): WithdrawalExchange {
  return (request) => exchangeProviderWithdrawals(database, { kind: "service" }, request);
}

/** Withdraws what is due with the key of this installation. @throws AppError `provider_not_configured` */
export async function withdrawProviderJobs(
  {
    database,
    fal,
    log,
  }: {
    database: Pick<Database, "call">;
    fal: FalAccess;
    log: { warn(fields: object, message: string): void };
  },
  atMost: number,
): Promise<{ attempted: number; settled: number }> {
  const queue = await fal();
  if (!queue) throw new AppError("provider_not_configured", { variable: "FAL_KEY", retry_after: 60 });
  const { attempted, settled } = await withdrawDue(
    { exchange: exchangeOf(database), fal: queue, log },
    { atMost },
  );
  return { attempted, settled };
}
