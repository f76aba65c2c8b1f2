import type { Logger } from "pino";
import type { Pool } from "../supabase/functions/_shared/database/pool.ts";
import {
  falRouting,
  type FalRule,
  type FalVariables,
} from "../supabase/functions/_shared/providers/variables.ts";

/** Task types by what runs them at this moment. A type may be run by several. */
export interface TaskRunners {
  /** GPU and API workers of the operator that are active. */
  own_workers: string[];
  fal: string[];
  /** Of this host. */
  sandbox: string[];
  /** Types that clients may show, and that nothing runs. */
  nothing: string[];
}

/** Which rule FAL follows at this host; without a key there is none. */
export function falRuleOf(fal: FalVariables | undefined): FalRule | undefined {
  return fal?.FAL_KEY ? (falRouting(fal).runs ?? "missing") : undefined;
}

/**
 * Writes what this host says about FAL. Without the key it says that FAL is not configured only where it has the database for itself: other
 * hosts may have the key.
 */
export async function configureFal(
  sql: Pool,
  fal: FalVariables | undefined,
  { isAlone }: { isAlone: boolean },
): Promise<void> {
  const rule = falRuleOf(fal);
  if (fal && rule) {
    const seconds = falRouting(fal).afterSeconds ?? null;
    await sql`select public.configure_fal(true, ${rule}, ${seconds}::integer)`;
  } else if (isAlone) await sql`select public.configure_fal(false)`;
}

/** `sandboxTypes`: what the sandbox of this host asks for. */
export async function taskRunners(sql: Pool, sandboxTypes: readonly string[]): Promise<TaskRunners> {
  const rows = await sql<
    { task_type: string; is_visible: boolean; own_workers: boolean; fal: boolean; sandbox: boolean }[]
  >`select * from public.task_runners()`;
  const known = rows.map((row) => ({ ...row, sandbox: row.sandbox && sandboxTypes.includes(row.task_type) }));
  const names = (some: typeof known) => some.map((row) => row.task_type);
  return {
    own_workers: names(known.filter((row) => row.own_workers)),
    fal: names(known.filter((row) => row.fal)),
    sandbox: names(known.filter((row) => row.sandbox)),
    nothing: names(known.filter((row) => row.is_visible && !row.own_workers && !row.fal && !row.sandbox)),
  };
}

/** Says at the start which task types are run by what, and names those that nothing runs. */
export function logTaskRunners(runners: TaskRunners, rule: FalRule | undefined, log: Logger): void {
  const { nothing, ...running } = runners;
  log.info({ ...running, ...(rule && { fal_runs: rule }) }, "what runs which task types");
  if (nothing.length > 0) {
    log.warn(
      { task_types: nothing },
      "nothing runs these task types: start a worker for them, set FAL_KEY, or set DARKROOM_SANDBOX=on",
    );
  }
}
