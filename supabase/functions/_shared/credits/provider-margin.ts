import type { Database } from "../database/database.ts";
import { asCsv } from "./csv.ts";

export interface MarginLine {
  /** YYYY-MM-DD, UTC: of the first job of each task. */
  day: string;
  task_type: string;
  tasks: number;
  jobs: number;
  revenue_microusd: number;
  provider_cost_microusd: number;
  margin_microusd: number;
}

export interface ProviderMargin extends Omit<MarginLine, "day" | "task_type"> {
  currency: "usd";
  from_day: string;
  to_day: string;
  lines: MarginLine[];
}

/** What tasks that ran at a provider brought in and cost, from a day up to, not including, another. */
export async function providerMargin(
  database: Pick<Database, "call">,
  { from, to }: { from: string; to: string },
): Promise<ProviderMargin> {
  return await database.call<ProviderMargin>("provider_margin", { from_day: from, to_day: to });
}

/** The lines as a file for spreadsheets. */
export function marginAsCsv({ lines }: ProviderMargin): string {
  return asCsv(lines, [
    "day",
    "task_type",
    "tasks",
    "jobs",
    "revenue_microusd",
    "provider_cost_microusd",
    "margin_microusd",
  ]);
}
