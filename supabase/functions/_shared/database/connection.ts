import { createHash } from "node:crypto";
import type { PoolClient, QueryResult } from "./driver.ts";
import { ConnectionError, endsConnection } from "./connection-error.ts";
import type { Row, Statement } from "./sql.ts";

/**
 * One connection while somebody uses it. Its statements run one after the other. After a lost connection or
 * a missed deadline it is destroyed, and every further statement fails: nothing ever runs on its successor.
 */
export class Connection {
  readonly #client: PoolClient;
  #failure: ConnectionError | undefined;
  #isReleased = false;
  #previous: Promise<unknown> = Promise.resolve();

  constructor(client: PoolClient) {
    this.#client = client;
  }

  /**
   * Runs a statement when those before it have ended.
   * @param deadline as `performance.now()` counts, so that a change of the clock ends nothing; the connection is destroyed when no answer has arrived by then
   */
  run(statement: Statement, deadline: number): Promise<QueryResult<Row>> {
    const running = this.#previous.then(() => this.#send(statement, deadline));
    this.#previous = running.catch(() => undefined);
    return running;
  }

  /** Waits until no statement is under way. */
  async settle(): Promise<void> {
    await this.#previous;
  }

  /** Gives the connection back; with `destroy` it is closed instead. */
  release({ destroy = false }: { destroy?: boolean } = {}): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#failure ??= new ConnectionError("CONNECTION_CLOSED", "The connection was released.");
    this.#client.release(destroy);
  }

  /** Closes the connection at once, whatever it does. */
  destroy(failure: ConnectionError): void {
    this.#failure ??= failure;
    this.release({ destroy: true });
  }

  async #send(statement: Statement, deadline: number): Promise<QueryResult<Row>> {
    if (this.#failure) throw this.#failure;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const missed = new Promise<never>((_, reject) => {
      if (!Number.isFinite(deadline)) return;
      timer = setTimeout(() => {
        const failure = new ConnectionError("CONNECTION_DEADLINE", "The database did not answer in time.");
        this.destroy(failure);
        reject(failure);
      }, deadline - performance.now());
    });
    const { text, values, prepare } = statement;
    try {
      return await Promise.race([
        missed,
        this.#client.query<Row>({ text, values: [...values], ...(prepare ? { name: nameOf(text) } : {}) }),
      ]);
    } catch (error) {
      if (!endsConnection(error)) throw error;
      const failure = lost(error);
      this.destroy(failure);
      throw this.#failure ?? failure;
    } finally {
      clearTimeout(timer);
    }
  }
}

function lost(error: unknown): ConnectionError {
  if (error instanceof ConnectionError) return error;
  return new ConnectionError("CONNECTION_LOST", "The connection to the database was lost.", { cause: error });
}

/** Statements are few: they come from our code, and shapes of REST requests are limited where they are prepared. */
const names = new Map<string, string>();
const maxNames = 5_000;

/** The same text has the same name in every process, as a connection pooler between us and PostgreSQL expects. */
function nameOf(text: string): string {
  let name = names.get(text);
  if (name === undefined) {
    if (names.size >= maxNames) names.clear();
    name = createHash("sha256").update(text).digest("base64url").slice(0, 22);
    names.set(text, name);
  }
  return name;
}
