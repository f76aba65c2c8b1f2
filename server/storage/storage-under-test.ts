import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { createAdaptorServer } from "@hono/node-server";
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { Hono } from "hono";
import { importJWK, SignJWT } from "jose";
import { pino } from "pino";
import { WebSocket } from "ws";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { type DatabaseUnderTest, withDatabase } from "../../test/support/database.ts";
import type { HostContext } from "../context.ts";
import { deriveKeys } from "../keys.ts";
import type { S3Settings } from "./s3-store.ts";
import { createStorage } from "./storage.ts";

export interface StorageUnderTest {
  database: DatabaseUnderTest;
  context: HostContext;
  /** `http://127.0.0.1:<port>/storage/v1` */
  url: string;
  service: SupabaseClient;
  as(userId: string): Promise<SupabaseClient>;
  tokenOf(userId: string, seconds?: number): Promise<string>;
  serviceHeaders: Record<string, string>;
  /** What a host does now and then about content in doubt. */
  sweep(): Promise<void>;
}

/**
 * A storage service on loopback, on a database of its own; its files on disk, in a folder that is given, or in S3.
 * Who gives a pool closes it.
 */
export async function withStorage(
  run: (storage: StorageUnderTest) => Promise<void>,
  s3?: S3Settings,
  folder?: string,
  connect?: (databaseUrl: string) => Promise<Pool>,
): Promise<void> {
  await withDatabase(async (database) => {
    const directory = await mkdtemp(path.join(tmpdir(), "darkroom-storage-"));
    const outer = new Hono();
    const server = createAdaptorServer({ fetch: outer.fetch }) as Server;
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert.ok(address && typeof address === "object");
    const apiUrl = `http://127.0.0.1:${address.port}`;
    const context: HostContext = {
      apiUrl,
      keys: await deriveKeys("a secret for tests, of 32 bytes and more", {}),
      sql: (await connect?.(database.url)) ?? database.sql,
      databaseUrl: database.url,
      storageDirectory: folder ?? path.join(directory, "files"),
      s3,
      log: pino({ level: "silent" }),
      checkAnswers: false,
    };
    const storage = createStorage(context);
    outer.route("/storage/v1", storage.app);

    const tokenOf = async (userId: string, seconds = 600) =>
      await new SignJWT({ role: "authenticated" })
        .setProtectedHeader({ alg: "ES256", kid: context.keys.signingJwk.kid })
        .setSubject(userId)
        .setIssuer(`${apiUrl}/auth/v1`)
        .setAudience("authenticated")
        .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
        .sign(await importJWK(context.keys.signingJwk, "ES256"));
    const clientWith = (key: string, headers: Record<string, string> = {}) =>
      createClient(apiUrl, key, {
        auth: { persistSession: false, autoRefreshToken: false },
        global: { headers },
        realtime: { transport: WebSocket as never },
      });
    try {
      await run({
        database,
        context,
        url: `${apiUrl}/storage/v1`,
        service: clientWith(context.keys.serviceRoleKey),
        as: async (userId) =>
          clientWith(context.keys.anonKey, { authorization: `Bearer ${await tokenOf(userId)}` }),
        tokenOf,
        sweep: () => storage.sweep(),
        serviceHeaders: { authorization: `Bearer ${context.keys.serviceRoleKey}` },
      });
    } finally {
      server.closeAllConnections();
      server.close();
      await storage.stop();
      await rm(directory, { recursive: true, force: true });
    }
  });
}

/** The header of a picture of that size, and bytes after it. */
export function png(width: number, height: number, bytes = 0): Uint8Array<ArrayBuffer> {
  const file = Buffer.alloc(33 + bytes, 7);
  file.write("\x89PNG\r\n\x1a\n", 0, "latin1");
  file.writeUInt32BE(13, 8);
  file.write("IHDR", 12, "latin1");
  file.writeUInt32BE(width, 16);
  file.writeUInt32BE(height, 20);
  file.set([8, 2, 0, 0, 0], 24);
  return new Uint8Array(file);
}

export async function contentOf(blob: Blob | null): Promise<Buffer> {
  assert.ok(blob);
  return Buffer.from(await blob.arrayBuffer());
}

export async function refusalOf(
  response: Response,
): Promise<{ status: number; statusCode: string; error: string }> {
  const body = (await response.json()) as { statusCode: string; error: string; message: string };
  assert.equal(typeof body.message, "string");
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
  return { status: response.status, statusCode: body.statusCode, error: body.error };
}

/** Every file under the storage folder, and those that are not where content belongs. */
