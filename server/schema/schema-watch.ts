import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "pino";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { findSchemaFaults } from "./check.ts";
import { describeFaults } from "./faults.ts";

const trustMilliseconds = 60_000;
const recheckMilliseconds = 2_000;

/** Knows whether the database has everything that requests rest on: roles, row level security, policies, grants. */
export class SchemaWatch {
  readonly #sql: Pool;
  readonly #log: Logger;
  #found: Promise<string | undefined> | undefined;

  constructor(sql: Pool, log: Logger) {
    this.#sql = sql;
    this.#log = log;
  }

  /** Why requests would fail or reach too much, in words; undefined when nothing is missing. Looks once a minute. */
  obstacle(): Promise<string | undefined> {
    if (this.#found) return this.#found;
    const looking = this.#look();
    this.#found = looking;
    const forget = () => {
      if (this.#found === looking) this.#found = undefined;
    };
    looking.then(
      (obstacle) => setTimeout(forget, obstacle ? recheckMilliseconds : trustMilliseconds).unref(),
      forget,
    );
    return looking;
  }

  /**
   * Resolves once nothing is missing. A host that served before would answer every call by an error, or, without row
   * level security, by the rows of others.
   */
  async untilWhole(signal: AbortSignal | undefined, announce: (obstacle: string) => void): Promise<void> {
    for (let obstacle = await this.obstacle(); obstacle; obstacle = await this.obstacle()) {
      announce(obstacle);
      await pause(recheckMilliseconds, undefined, { signal });
    }
  }

  async #look(): Promise<string | undefined> {
    const faults = await findSchemaFaults(this.#sql);
    if (faults.length === 0) return undefined;
    const obstacle = `the database is incomplete: ${describeFaults(faults)}`;
    this.#log.error(
      { faults: faults.slice(0, 100), count: faults.length },
      `${obstacle}. Not ready until it is complete; "npm run doctor" lists everything, docs/backup.md says how to restore`,
    );
    return obstacle;
  }
}
