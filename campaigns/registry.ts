import type { Campaign } from "./support/campaign.ts";
import { killPostgres } from "./kill-postgres.ts";

/** In the order of the README. */
export const campaigns: readonly Campaign[] = [killPostgres];
