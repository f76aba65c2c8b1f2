import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type { EndpointUnderTest } from "./endpoint-suite.ts";
import type { PersonUnderTest } from "./environment.ts";
import type { TestUser } from "./factories.ts";

export interface Received {
  headers: IncomingHttpHeaders;
  body: string;
}

export interface Receiver {
  url: string;
  port: number;
  received: Received[];
  /** Connections that were opened, whether or not a request came. */
  connections(): number;
  /** Resolves when so many requests have come in all. */
  reached(count: number): Promise<Received[]>;
  close(): Promise<void>;
}

export type Respond = (response: ServerResponse, request: Received, count: number) => void;

/** A real HTTP receiver on loopback; answers 204 unless told otherwise. */
export async function startReceiver(
  respond: Respond = (response) => response.writeHead(204).end(),
): Promise<Receiver> {
  const received: Received[] = [];
  const waiting = new Set<() => void>();
  let connections = 0;
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const one = { headers: request.headers, body: Buffer.concat(chunks).toString("utf8") };
      received.push(one);
      respond(response, one, received.length);
      for (const look of waiting) look();
    });
  });
  server.on("connection", () => connections++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/hook?from=darkroom`,
    port,
    received,
    connections: () => connections,
    reached: (count) =>
      new Promise((resolve) => {
        const look = () => {
          if (received.length < count) return;
          waiting.delete(look);
          resolve(received);
        };
        waiting.add(look);
        look();
      }),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export function webhookSecret(): string {
  return `whsec_${randomBytes(32).toString("base64")}`;
}

export interface TestWebhook {
  id: string;
  secret: string;
}

export const everyEvent = [
  "task.queued",
  "task.in_progress",
  "task.complete",
  "task.failed",
  "task.cancelled",
];

/** A webhook as `create-webhook` makes it. */
export async function createWebhook(
  sql: Sql,
  { projectId }: TestUser,
  { url = "https://hooks.example.com/", events = everyEvent }: { url?: string; events?: string[] } = {},
): Promise<TestWebhook> {
  const secret = webhookSecret();
  const [row] = await sql<{ made: { webhook_id: string } }[]>`
    select create_webhook(null, ${projectId}, ${url}, ${events}, ${secret}) as made`;
  return { id: row?.made.webhook_id ?? "", secret };
}

/** Messages of type `webhook.test`, due now. @returns their ids, oldest first */
export async function sendTests(sql: Sql, { id }: TestWebhook, count = 1): Promise<string[]> {
  const ids: string[] = [];
  for (let sent = 0; sent < count; sent++) {
    const [row] = await sql<{ made: { delivery_id: string } }[]>`select test_webhook(null, ${id}) as made`;
    ids.push(row?.made.delivery_id ?? "");
  }
  return ids;
}

/** A new person with a webhook, for the tests of endpoints. */
export async function personWithWebhook(
  under: EndpointUnderTest,
): Promise<{ person: PersonUnderTest; webhook: TestWebhook; body: { webhook_id: string } }> {
  const person = await under.person();
  const webhook = await createWebhook(under.sql, person);
  return { person, webhook, body: { webhook_id: webhook.id } };
}

/** Refuses what the caller may not know of: unknown and foreign alike, byte for byte. */
export async function refusesStrangers(
  under: EndpointUnderTest,
  code: string,
  body: (webhookId: string) => Record<string, unknown>,
): Promise<void> {
  const [{ webhook }, other] = [await personWithWebhook(under), await under.person()];
  const answers = [webhook.id, randomUUID()].map(async (id) => {
    const { status, text } = await under.refused(code, body(id), other.session);
    return { status, text: text.replace(/"request_id":"[^"]*"/, "") };
  });
  const [foreign, missing] = await Promise.all(answers);
  assert.deepEqual(foreign, missing);
  await under.refused(code, body(randomUUID()), under.service);
}
