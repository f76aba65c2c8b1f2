import { connections } from "./connections.ts";
import { deno } from "./deno.ts";
import { diskFull } from "./disk-full.ts";
import { eatenConnections } from "./eaten-connections.ts";
import { killHost } from "./kill-host.ts";
import { killPostgres } from "./kill-postgres.ts";
import { latency } from "./latency.ts";
import { resets } from "./resets.ts";
import { restore } from "./restore.ts";
import { silence } from "./silence.ts";
import type { Campaign } from "./support/campaign.ts";
import { twoHosts } from "./two-hosts.ts";

/** In the order of the README. */
export const campaigns: readonly Campaign[] = [
  killPostgres,
  killHost,
  connections,
  resets,
  silence,
  latency,
  eatenConnections,
  twoHosts,
  diskFull,
  restore,
  deno,
];
