import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { createServer } from "node:net";
import { serve } from "@hono/node-server";
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { Hono } from "hono";
import { SignJWT } from "jose";
import { pino } from "pino";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import ws from "ws";
import type { HostContext } from "../context.ts";

export interface ServedForTests {
  context: HostContext;
  /** `http://127.0.0.1:<port>` */
  url: string;
  /** The real client, with a key and perhaps somebody's token. */
  client(key: string, accessToken?: string): SupabaseClient;
}

/** Serves parts of the host on a free port, with keys of their own, and ends with the test. */
export async function withServed<Result>(
  { sql, url: databaseUrl }: { sql: Pool; url: string },
  mount: (app: Hono, context: HostContext) => void,
  test: (served: ServedForTests) => Promise<Result>,
): Promise<Result> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const context: HostContext = {
    apiUrl: url,
    keys: await testKeys(),
    sql,
    databaseUrl,
    storageDirectory: "",
    checkAnswers: true,
    log: pino({ level: "silent" }),
  };
  const app = new Hono();
  mount(app, context);
  const server = serve({
    fetch: app.fetch,
    port,
    hostname: "127.0.0.1",
    serverOptions: { maxHeaderSize: 64 * 1024 },
  });
  try {
    await new Promise((resolve) => server.once("listening", resolve));
    return await test({
      context,
      url,
      client: (key, accessToken) =>
        createClient(url, key, {
          auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
          realtime: { transport: ws as never },
          global: accessToken ? { headers: { authorization: `Bearer ${accessToken}` } } : {},
        }),
    });
  } finally {
    if ("closeAllConnections" in server) server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function testKeys(): Promise<HostContext["keys"]> {
  const jwtSecret = randomBytes(32).toString("hex");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const legacyKey = (role: string) =>
    new SignJWT({ role })
      .setProtectedHeader({ alg: "HS256", typ: "JWT" })
      .setIssuer("supabase")
      .setIssuedAt()
      .setExpirationTime("10y")
      .sign(new TextEncoder().encode(jwtSecret));
  return {
    jwtSecret,
    anonKey: await legacyKey("anon"),
    serviceRoleKey: await legacyKey("service_role"),
    publishableKey: `sb_publishable_${randomBytes(16).toString("hex")}`,
    secretKey: `sb_secret_${randomBytes(16).toString("hex")}`,
    signingJwk: { ...privateKey.export({ format: "jwk" }), alg: "ES256", kid: randomUUID() },
  };
}

/** Known before the server runs, for tokens name the address that issued them. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port: 0, host: "127.0.0.1" }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
