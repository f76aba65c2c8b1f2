import { z } from "zod";

/** Shapes that many bodies share. Every text has a greatest length. */
export const uuid = z
  .string()
  .regex(/^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/, "must be a uuid");

export function text(maxLength: number): z.ZodString {
  return z.string().max(maxLength);
}

/** Or the header `Idempotency-Key`: the same key and request are answered with the first answer again. */
export const idempotencyKey = text(200).min(1).nullish().describe("or the header Idempotency-Key");

export const workerId = z.string().trim().min(1).max(200);

/** The number a claim gave out; names the run that a call is about. */
export const attempt = z.int().min(1).max(1_000_000);

export const taskStatus = z.enum(["Queued", "In Progress", "Complete", "Failed", "Cancelled"]);

/** How long a request may be held: less than proxies and the edge allow. */
export const waitSeconds = z.number().min(0).max(50).nullish();

export const timestamp = z.string();

export const params = z.record(z.string(), z.unknown());

/** Of lists that come in pages: how many, and where the page before ended. */
export const pageLimit = z.int().min(1).max(1000).nullish().describe("1000 unless said");
export const pageCursor = z
  .string()
  .regex(
    /^\d{1,16}\.[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/,
    "must be a cursor of an earlier page",
  )
  .nullish()
  .describe("`next_cursor` of the page before");
