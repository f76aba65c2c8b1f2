import { z } from "zod";
import { readJsonObject } from "../../supabase/functions/_shared/http/read-body.ts";
import { type Issue, unstorableValues } from "../../supabase/functions/_shared/http/storable.ts";
import { validationFailed } from "./auth-error.ts";

const bodyLimitBytes = 64 * 1024;

const metadata = z.record(z.string(), z.unknown());
const text = z.string();

/** Bodies that clients send; what else is in them is ignored. */
export const bodies = {
  signUp: z.object({ email: text.optional(), password: text.optional(), data: metadata.nullish() }),
  passwordGrant: z.object({ email: text.optional(), password: text.optional() }),
  refreshGrant: z.object({ refresh_token: text.optional() }),
  ownUser: z.object({ email: text.optional(), password: text.optional(), data: metadata.nullish() }),
  newUser: z.object({
    id: z.uuid().optional(),
    email: text,
    password: text.optional(),
    email_confirm: z.boolean().optional(),
    user_metadata: metadata.nullish(),
    app_metadata: metadata.nullish(),
    ban_duration: text.optional(),
  }),
  changedUser: z.object({
    email: text.optional(),
    password: text.optional(),
    email_confirm: z.boolean().optional(),
    user_metadata: metadata.nullish(),
    app_metadata: metadata.nullish(),
    ban_duration: text.optional(),
  }),
  deletion: z.object({ should_soft_delete: z.boolean().optional() }),
};

/** @throws AuthError `validation_failed`, AppError `invalid_json`, `body_too_large` */
export async function readBody<Schema extends z.ZodType>(
  request: Request,
  schema: Schema,
): Promise<z.output<Schema>> {
  const parsed = schema.safeParse((await readJsonObject(request, bodyLimitBytes)) ?? {});
  const [issue] = parsed.success ? unstorableIn(schema, parsed.data) : parsed.error.issues.map(issueOf);
  if (parsed.success && !issue) return parsed.data;
  throw validationFailed(`${issue?.path || "body"}: ${issue?.message ?? "invalid"}`);
}

function unstorableIn(schema: z.ZodType, sent: unknown): Issue[] {
  // A refresh token is looked up by its hash: one that cannot be stored is as unknown as any other.
  return schema === bodies.refreshGrant ? [] : unstorableValues(sent);
}

function issueOf({ path, message }: z.core.$ZodIssue): Issue {
  return { path: path.join("."), message };
}

/** "none", or a duration such as "24h" or "1h30m": when a ban ends. */
export function endOfBan(duration: string | undefined): Date | null | undefined {
  if (duration === undefined) return undefined;
  if (duration === "none") return null;
  const match = /^(?:(\d{1,7})h)?(?:(\d{1,7})m)?(?:(\d{1,7})s)?$/.exec(duration);
  if (!match || duration === "")
    throw validationFailed(`invalid format for ban_duration: ${duration.slice(0, 50)}`);
  const [hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0));
  return new Date(Date.now() + ((hours ?? 0) * 3_600 + (minutes ?? 0) * 60 + (seconds ?? 0)) * 1_000);
}

export function pageNumber(given: string | undefined, otherwise: number, most: number): number {
  if (given === undefined || given === "") return otherwise;
  if (!/^\d{1,6}$/.test(given) || Number(given) < 1)
    throw validationFailed("page and per_page are numbers from 1");
  return Math.min(Number(given), most);
}
