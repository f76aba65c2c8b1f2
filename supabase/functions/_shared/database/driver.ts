/** The driver, pg: everything of it that is used here. Decision 14 says why it is this one. */
import { Client as DriverClient, type ClientConfig } from "pg";

export {
  type CustomTypesConfig,
  DatabaseError,
  escapeIdentifier,
  Pool as DriverPool,
  type PoolClient,
  type PoolConfig,
  type QueryResult,
  types,
} from "pg";

const connectMilliseconds = 3_000;

/** Limits the time of connecting alone; a limit of the pool would hold for waiting calls too. */
export class Client extends DriverClient {
  constructor(config?: string | ClientConfig) {
    super({
      ...(typeof config === "string" ? { connectionString: config } : config),
      connectionTimeoutMillis: connectMilliseconds,
    });
  }
}
