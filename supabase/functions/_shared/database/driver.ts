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

const sslModes = ["disable", "require", "verify-ca", "verify-full"];

/**
 * The address as the driver takes it. `sslmode` means what it means to PostgreSQL's own clients: `require` encrypts and does
 * not check the certificate.
 * @throws Error for a mode that would fall back to an open connection, or that does not exist
 */
export function driverUrl(url: string): URL {
  const parsed = new URL(url);
  const mode = parsed.searchParams.get("sslmode");
  if (mode === null) return parsed;
  if (!sslModes.includes(mode)) {
    throw new Error(`sslmode=${mode} is not supported in a database URL: use one of ${sslModes.join(", ")}.`);
  }
  parsed.searchParams.set("uselibpqcompat", "true");
  return parsed;
}

/** Limits the time of connecting alone; a limit of the pool would hold for waiting calls too. */
export class Client extends DriverClient {
  constructor(config?: string | ClientConfig) {
    super({
      ...(typeof config === "string" ? { connectionString: config } : config),
      connectionTimeoutMillis: connectMilliseconds,
    });
  }
}
