import { type Context, Hono } from "hono";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { z } from "zod";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { readBytes } from "../../supabase/functions/_shared/http/body-bytes.ts";
import { isDeeperThan, maxDepth } from "../../supabase/functions/_shared/http/read-body.ts";
import { textFault, unstorableValues } from "../../supabase/functions/_shared/http/storable.ts";
import type { Access, Caller } from "./access.ts";
import { limits } from "./channels.ts";
import { RateWindow } from "./rate-window.ts";

const messageBody = z.object({
  topic: z.string().min(1),
  event: z.string().min(1),
  payload: z.unknown(),
  private: z.boolean().nullish(),
});
const batchBody = z.object({ messages: z.array(messageBody).min(1).max(100) });

interface Sending {
  topic: string;
  event: string;
  payload: unknown;
  private: boolean;
}

const maxTrackedSenders = 10_000;

/** Broadcasts over HTTP, relative to `/realtime/v1`: stored, so that every host delivers them. */
export function createBroadcastApi(sql: Pool, access: Access): Hono {
  const app = new Hono();
  const rates = new Map<string, RateWindow>();

  app.post("/api/broadcast/:topic/events/:event", async (c) => {
    const caller = await callerOf(c);
    const payload = await readJson(c);
    const isPrivate = c.req.query("private") === "true";
    await send(caller, [
      { topic: c.req.param("topic"), event: c.req.param("event"), payload, private: isPrivate },
    ]);
    return c.body(null, 202);
  });

  app.post("/api/broadcast", async (c) => {
    const caller = await callerOf(c);
    const body = batchBody.safeParse(await readJson(c));
    if (!body.success) {
      const issues = body.error.issues.slice(0, 20);
      throw new AppError("invalid_request", {
        issues: issues.map(({ path, message }) => ({ path: path.join("."), message })),
      });
    }
    await send(
      caller,
      body.data.messages.map((message) => ({
        ...message,
        payload: message.payload ?? {},
        private: message.private ?? false,
      })),
    );
    return c.body(null, 202);
  });

  async function callerOf(c: Context): Promise<Caller> {
    const apiKey = c.req.header("apikey");
    // Realtime clients repeat a `sb_` key as the token, though it is none.
    const token = /^bearer +(?!sb_)(\S+) *$/i.exec(c.req.header("authorization") ?? "")?.[1];
    if (apiKey === undefined && token === undefined) throw new AppError("unauthenticated");
    const caller = await access.identify({
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(token === undefined ? {} : { token }),
    });
    // A key that every visitor has would let anybody write to the database.
    if (caller.role === "anon") throw new AppError("forbidden");
    return caller;
  }

  async function send(caller: Caller, messages: Sending[]): Promise<void> {
    for (const { topic, event } of messages) {
      if (!isName(topic, limits.topicBytes) || !isName(event, limits.topicBytes)) {
        throw new AppError("invalid_request", { limit_bytes: limits.topicBytes });
      }
    }
    if (caller.role !== "service_role") {
      takeRate(String(caller.claims["sub"]), messages.length);
      const topics = new Set(messages.filter((message) => message.private).map(({ topic }) => topic));
      for (const topic of topics) {
        if (!(await access.mayWrite(caller, topic, "broadcast"))) throw new AppError("forbidden");
      }
    }
    await sql.transaction(async (transaction) => {
      for (const { payload, event, topic, private: isPrivate } of messages) {
        const text = JSON.stringify(payload);
        await transaction`select realtime.send(${text}::text::jsonb, ${event}, ${topic}, ${isPrivate})`;
      }
    });
  }

  function takeRate(sender: string, count: number): void {
    let rate = rates.get(sender);
    if (!rate) {
      if (rates.size >= maxTrackedSenders) rates.clear();
      rates.set(sender, (rate = new RateWindow(limits.broadcastsPerSecond, 1000)));
    }
    if (!rate.take(count)) throw new AppError("rate_limited", { retry_after: 1 });
  }

  return app;
}

async function readJson(c: Context): Promise<unknown> {
  const type = c.req.header("content-type") ?? "application/json";
  // Messages are stored as JSON; bytes can be broadcast over a socket alone.
  if (!/^application\/json\b/i.test(type)) throw new AppError("unsupported_media_type");
  const bytes = await readBytes(
    c.req.raw,
    limits.frameBytes,
    () => new AppError("body_too_large", { limit_bytes: limits.frameBytes }),
  );
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new AppError("invalid_json", {}, { cause: error });
  }
  if (isDeeperThan([value], maxDepth)) throw new AppError("invalid_json", { limit_depth: maxDepth });
  const issues = unstorableValues(value);
  if (issues.length > 0) throw new AppError("invalid_request", { issues });
  return value;
}

function isName(text: string, maxBytes: number): boolean {
  return text !== "" && Buffer.byteLength(text) <= maxBytes && textFault(text) === undefined;
}
