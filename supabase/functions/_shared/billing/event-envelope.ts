import { z } from "zod";

/** An event as it is stored: under its id, with the text that Stripe signed. */
export interface StoredEvent {
  id: string;
  body: string;
}

/** What is around the object of an event. What cannot be read is undefined and named in `issues`. */
export interface EventEnvelope extends StoredEvent {
  type: string;
  livemode: boolean | undefined;
  /** Of a connected account; undefined for our own. */
  account: string | undefined;
  apiVersion: string | undefined;
  /** ISO 8601. */
  createdAt: string | undefined;
  object: unknown;
  issues: string[];
}

const id = z.string().regex(/^[A-Za-z0-9_-]{1,255}$/);
const type = z.string().regex(/^[a-z0-9._]{1,200}$/);
const seconds = z.int().min(0).max(253_402_300_799);
const word = z.string().regex(/^[\w.:-]{1,255}$/);
/** Of an event whose type cannot be read. */
export const unreadableType = "unreadable";

/**
 * Reads the text of an event that Stripe has signed. Never fails: an event that cannot be read must still be stored, so
 * one without a usable id has a hash of its text as id.
 */
export async function readEnvelope(body: string, storedId?: string): Promise<EventEnvelope> {
  const event = fieldsOf(JSON.parse(body) as unknown);
  const issues: string[] = [];
  const read = <Schema extends z.ZodType>(name: string, schema: Schema): z.output<Schema> | undefined => {
    const { success, data } = schema.safeParse(event[name]);
    if (!success) issues.push(`${name}: unreadable`);
    return success ? data : undefined;
  };
  const object = fieldsOf(event["data"])["object"];
  if (typeof object !== "object" || object === null) issues.push("data.object: missing");
  const ownId = read("id", id);
  return {
    id: storedId ?? ownId ?? `unreadable_${await hashOf(body)}`,
    body,
    type: read("type", type) ?? unreadableType,
    livemode: read("livemode", z.boolean()),
    account: read("account", word.nullish()) ?? undefined,
    apiVersion: read("api_version", word.nullish()) ?? undefined,
    createdAt: isoOf(read("created", seconds)),
    object,
    issues,
  };
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function isoOf(time: number | undefined): string | undefined {
  return time === undefined ? undefined : new Date(time * 1000).toISOString();
}

async function hashOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
