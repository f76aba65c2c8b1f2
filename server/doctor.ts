import { openPool } from "../supabase/functions/_shared/database/pool.ts";
import { findSchemaFaults } from "./schema/check.ts";

/** `doctor` looks at roles, policies and grants, books, payments, tasks and queue; `verify` at the books alone. */
export const checks = ["doctor", "verify"] as const;
export type Check = (typeof checks)[number];

interface Fault {
  room: string;
  rule: string;
  user_id: string | null;
  row_id: string;
  details: Record<string, unknown>;
}

export interface Diagnosis {
  healthy: boolean;
  checked_at: string;
  /** All of them; `faults` are the first thousand. */
  fault_count: number;
  faults: Fault[];
  accounts: number;
  entries: number;
  /** Of `doctor` alone. */
  open_holds?: number;
  tasks?: number;
  chain_digest: string;
}

/** Asks a database, as its owner, whether it is right. However long that takes: it reads everything. */
export async function examine(databaseUrl: string, check: Check): Promise<Diagnosis> {
  const sql = openPool({
    url: databaseUrl,
    name: `darkroom-${check}`,
    connections: 1,
    settings: { statement_timeout: "0" },
    deadlineMilliseconds: Infinity,
  });
  try {
    if (check === "verify") {
      const [row] = await sql<{ found: Diagnosis }[]>`select public.verify_ledger() as found`;
      if (!row) throw new Error("The database answered nothing.");
      return row.found;
    }
    const missing = await findSchemaFaults(sql);
    // What proves the tables is a function too: where it is missing, that is what there is to say.
    const isThere = await sql`select to_regprocedure('public.doctor(integer)') as doctor`;
    const [row] =
      isThere[0]?.["doctor"] === null
        ? []
        : await sql<{ found: Diagnosis }[]>`select public.doctor() as found`;
    const { faults = [], fault_count = 0, ...counts } = row?.found ?? {};
    return {
      checked_at: new Date().toISOString(),
      accounts: 0,
      entries: 0,
      chain_digest: "",
      ...counts,
      healthy: missing.length === 0 && (counts as Partial<Diagnosis>).healthy === true,
      fault_count: missing.length + fault_count,
      faults: [...missing, ...faults].slice(0, 1000),
    };
  } finally {
    await sql.end();
  }
}

/** For people: a line for each fault, and what was looked at. */
export function report({ faults, fault_count, ...found }: Diagnosis): string {
  const counts = [
    `accounts ${found.accounts}`,
    `entries ${found.entries}`,
    ...(found.open_holds === undefined ? [] : [`open holds ${found.open_holds}`]),
    ...(found.tasks === undefined ? [] : [`tasks ${found.tasks}`]),
  ];
  const unlisted = fault_count - faults.length;
  return [
    ...faults.map(
      ({ room, rule, row_id, user_id, details }) =>
        `${room}: ${rule}, row ${row_id}${user_id ? `, user ${user_id}` : ""}  ${JSON.stringify(details)}`,
    ),
    ...(unlisted > 0 ? [`… and ${unlisted} more`] : []),
    `${found.healthy ? "Healthy" : `${fault_count} ${fault_count === 1 ? "fault" : "faults"}`}: ${counts.join(", ")}`,
    `chain digest ${found.chain_digest}`,
  ].join("\n");
}
