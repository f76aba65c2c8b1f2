import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Hono } from "hono";
import { pino } from "pino";
import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";
import type { HostKeys } from "../../server/context.ts";
import { publicJwks } from "../../server/identifier.ts";
import { deriveKeys } from "../../server/keys.ts";
import { createStorage } from "../../server/storage/storage.ts";
import { type Scope, scopes as allScopes } from "../../supabase/functions/_shared/http/endpoint.ts";
import type { BillingVariables } from "../../supabase/functions/_shared/billing/variables.ts";
import type { FalVariables } from "../../supabase/functions/_shared/providers/variables.ts";
import type { Environment } from "../../supabase/functions/_shared/http/bind.ts";
import { createEnvironment } from "../../supabase/functions/_shared/runtime/environment.ts";
import { createProviderRuns } from "../../supabase/functions/_shared/runtime/provider-runs.ts";
import { hashToken, newToken } from "../../supabase/functions/_shared/tokens/token-format.ts";
import { createTestDatabase, dropTestDatabase } from "./database.ts";
import { createUser, type TestUser } from "./factories.ts";
import { sessionToken } from "./session-token.ts";

type Credentials = Record<string, string>;

/** What endpoints run in, on a database of its own, with a storage service in this process. */
export interface EnvironmentUnderTest {
  environment: Environment;
  sql: Pool;
  databaseUrl: string;
  keys: HostKeys;
  apiUrl: string;
  service: Credentials;
  /** Reaches the services of this process, as the endpoints do. */
  fetch: typeof fetch;
  /** A person with a project, a session, and as many credits as said. */
  person(options?: { balanceMicrousd?: number }): Promise<PersonUnderTest>;
  logged(): string;
  close(): Promise<void>;
}

export interface PersonUnderTest extends TestUser {
  session: Credentials;
  /** A new token's credentials, and its id. */
  token(scopes?: readonly Scope[]): Promise<{ id: string; credentials: Credentials }>;
}

export interface EnvironmentOptions {
  /** Stripe's address and keys, and what checkout needs. */
  billing?: BillingVariables;
  /** FAL's addresses, and whether its webhook is switched on. */
  fal?: FalVariables;
}

export async function startEnvironment({
  billing = {},
  fal = {},
}: EnvironmentOptions = {}): Promise<EnvironmentUnderTest> {
  const database = await createTestDatabase();
  const storageDirectory = await mkdtemp(path.join(tmpdir(), "darkroom-endpoint-"));
  const sql = openPool({ url: database.url, name: "test", connections: 4 });
  const lines: string[] = [];
  const log = pino({ level: "trace" }, { write: (line: string) => void lines.push(line) });
  const keys = await deriveKeys(randomUUID() + randomUUID(), {});
  const apiUrl = "http://darkroom.test";

  const storage = createStorage({
    apiUrl,
    keys,
    sql,
    databaseUrl: database.url,
    storageDirectory,
    checkAnswers: true,
    log,
  });
  const services = new Hono().route("/storage/v1", storage.app);
  services.get("/auth/v1/.well-known/jwks.json", (c) => c.json(publicJwks(keys)));

  const fetchHere: typeof fetch = async (input, init) => await services.fetch(new Request(input, init));
  const shared = createEnvironment({
    settings: {
      SUPABASE_URL: apiUrl,
      SUPABASE_DB_URL: database.url,
      SUPABASE_ANON_KEY: keys.anonKey,
      SUPABASE_SERVICE_ROLE_KEY: keys.serviceRoleKey,
      SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishableKey }),
      SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secretKey }),
      SUPABASE_JWT_SECRET: keys.jwtSecret,
      DARKROOM_CHECK_ANSWERS: "on",
      DARKROOM_WEBHOOKS_ALLOW_PRIVATE: "on",
      ...billing,
      ...fal,
    },
    fetch: fetchHere,
    log,
  });
  const runs = { apiUrl, serviceKey: keys.serviceRoleKey, environment: shared, fetch: fetchHere };
  const environment = {
    ...shared,
    providerRuns: createProviderRuns({ ...runs, variables: fal, idleMilliseconds: 100 }),
  };

  async function token(
    userId: string,
    scopes: readonly Scope[],
  ): Promise<{ id: string; credentials: Credentials }> {
    const text = newToken();
    const [row] = await sql<{ made: { id: string } }[]>`
      select generate_pat(${userId}, ${await hashToken(text)}, ${text.slice(-4)}, 'test', ${scopes as string[]}) as made`;
    return { id: row?.made.id ?? "", credentials: { authorization: `Bearer ${text}` } };
  }

  return {
    environment,
    sql,
    databaseUrl: database.url,
    keys,
    apiUrl,
    fetch: fetchHere,
    service: { authorization: `Bearer ${keys.serviceRoleKey}` },
    async person({ balanceMicrousd } = {}) {
      const user = await createUser(sql, balanceMicrousd);
      const session = await sessionToken({ apiUrl, keys }, user.userId);
      return {
        ...user,
        session: { authorization: `Bearer ${session}` },
        token: (scopes = allScopes) => token(user.userId, scopes),
      };
    },
    logged: () => lines.join(""),
    async close() {
      await Promise.all([environment.database.close(), storage.stop(), sql.end()]);
      await dropTestDatabase(database);
      await rm(storageDirectory, { recursive: true, force: true });
    },
  };
}
