import { setTimeout } from "node:timers/promises";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { AuthError, emailTaken, sqlCode, validationFailed } from "./auth-error.ts";

type Json = Parameters<Sql["json"]>[0];
export type Metadata = Record<string, unknown>;

export interface UserRow {
  id: string;
  aud: string;
  role: string;
  email: string | null;
  encrypted_password: string | null;
  email_confirmed_at: Date | null;
  last_sign_in_at: Date | null;
  raw_app_meta_data: Metadata;
  raw_user_meta_data: Metadata;
  is_anonymous: boolean;
  banned_until: Date | null;
  created_at: Date;
  updated_at: Date;
}

export interface NewUser {
  id?: string | undefined;
  email: string;
  passwordHash: string | undefined;
  confirmed: boolean;
  appMetadata: Metadata;
  userMetadata: Metadata;
  bannedUntil?: Date | null | undefined;
}

/** What is undefined stays. */
export interface UserChanges {
  email?: string | undefined;
  passwordHash?: string | undefined;
  confirm?: boolean | undefined;
  appMetadata?: Metadata | undefined;
  userMetadata?: Metadata | undefined;
  bannedUntil?: Date | null | undefined;
}

/** Metadata travels in every access token, and servers take no header longer than a few times this. */
const longestMetadata = 4 * 1024;

/** As kept and compared. @throws AuthError `validation_failed` */
export function normalizedEmail(text: string): string {
  const email = text.trim().toLowerCase();
  const wellFormed = /^[^\s@"(),:;<>[\]\\\p{Cc}]{1,64}@[^\s@.\p{Cc}]+(\.[^\s@.\p{Cc}]+)*$/u.test(email);
  if (!wellFormed || email.length > 254) {
    throw validationFailed("Unable to validate email address: invalid format");
  }
  return email;
}

export async function findUserByEmail(sql: Sql, email: string): Promise<UserRow | undefined> {
  const [user] = await sql<UserRow[]>`select * from auth.users where lower(email) = lower(${email})`;
  return user;
}

export async function findUser(sql: Sql, id: string): Promise<UserRow | undefined> {
  if (!isUuid(id)) return undefined;
  const [user] = await sql<UserRow[]>`select * from auth.users where id = ${id}`;
  return user;
}

/** @throws AuthError `taken` when somebody has the email. */
export async function insertUser(
  sql: Sql,
  user: NewUser,
  taken: "user_already_exists" | "email_exists",
): Promise<UserRow> {
  const appMetadata = { provider: "email", providers: ["email"], ...user.appMetadata };
  requireShort(appMetadata, user.userMetadata);
  try {
    const [row] = await sql<UserRow[]>`
      insert into auth.users (id, email, encrypted_password, email_confirmed_at, banned_until,
                              raw_app_meta_data, raw_user_meta_data)
      values (coalesce(${user.id ?? null}, gen_random_uuid()), ${user.email}, ${user.passwordHash ?? null},
              case when ${user.confirmed} then now() end, ${user.bannedUntil ?? null},
              ${sql.json(appMetadata as Json)}, ${sql.json(withoutNulls(user.userMetadata) as Json)})
      returning *`;
    return present(row);
  } catch (error) {
    throw sqlCode(error) === "23505" ? emailTaken(taken) : error;
  }
}

/** Metadata is merged, and a null takes its key away. */
export async function updateUser(sql: Sql, id: string, changes: UserChanges): Promise<UserRow> {
  const appMetadata = changes.appMetadata ?? {};
  const userMetadata = changes.userMetadata ?? {};
  try {
    const [row] = await sql<UserRow[]>`
      update auth.users
         set email = coalesce(${changes.email ?? null}, email),
             encrypted_password = coalesce(${changes.passwordHash ?? null}, encrypted_password),
             email_confirmed_at = case when ${changes.confirm ?? false}
                                       then coalesce(email_confirmed_at, now()) else email_confirmed_at end,
             banned_until = case when ${changes.bannedUntil !== undefined}
                                 then ${changes.bannedUntil ?? null}::timestamptz else banned_until end,
             raw_app_meta_data =
               (raw_app_meta_data || ${sql.json(appMetadata as Json)}) - ${nullKeys(appMetadata)}::text[],
             raw_user_meta_data =
               (raw_user_meta_data || ${sql.json(userMetadata as Json)}) - ${nullKeys(userMetadata)}::text[],
             updated_at = now()
       where id = ${id}
      returning *`;
    if (!row) throw userNotFound();
    requireShort(row.raw_app_meta_data, row.raw_user_meta_data);
    return row;
  } catch (error) {
    throw sqlCode(error) === "23505" ? emailTaken("email_exists") : error;
  }
}

export async function deleteUser(sql: Sql, id: string, longestMilliseconds = 60_000): Promise<void> {
  if (!isUuid(id)) throw userNotFound();
  await emptyAccount(sql, id, Date.now() + longestMilliseconds);
  try {
    const { count } = await sql`delete from auth.users where id = ${id}`;
    if (count === 0) throw userNotFound();
  } catch (error) {
    const code = sqlCode(error);
    if (code === undefined || !/^(23503|23001|P0001|PT4\d\d)$/.test(code)) throw error;
    throw new AuthError(409, "conflict", "The user has records that must be kept", {}, { cause: error });
  }
}

/** Removes in batches what the user has in projects, so that the deletion of the user is a small transaction. */
async function emptyAccount(sql: Sql, id: string, deadline: number): Promise<void> {
  for (;;) {
    const [batch] = await sql<{ did: number | null }[]>`select public.empty_account(${id}) as did`;
    const did = batch?.did ?? null;
    if (did === null) return;
    if (Date.now() >= deadline) {
      throw new AuthError(503, "request_timeout", "The user's projects are being deleted; try again later.", {
        retry_after: 30,
      });
    }
    if (did === 0) await setTimeout(100);
  }
}

export async function listUsers(
  sql: Sql,
  { page, perPage }: { page: number; perPage: number },
): Promise<{ users: UserRow[]; total: number }> {
  const users = await sql<UserRow[]>`
    select * from auth.users order by created_at desc, id limit ${perPage} offset ${(page - 1) * perPage}`;
  const [counted] = await sql<{ total: number }[]>`select count(*)::int as total from auth.users`;
  return { users: [...users], total: present(counted).total };
}

/** The user as clients know them. */
export function userJson(user: UserRow): Record<string, unknown> {
  const { email, email_confirmed_at: confirmedAt } = user;
  return {
    id: user.id,
    aud: user.aud,
    role: user.role,
    email: email ?? "",
    ...(confirmedAt ? { email_confirmed_at: confirmedAt, confirmed_at: confirmedAt } : {}),
    phone: "",
    ...(user.last_sign_in_at ? { last_sign_in_at: user.last_sign_in_at } : {}),
    ...(user.banned_until ? { banned_until: user.banned_until } : {}),
    app_metadata: user.raw_app_meta_data,
    user_metadata: user.raw_user_meta_data,
    // There is one way to sign in, so there is one identity, and it says what the user says.
    identities: [
      {
        identity_id: user.id,
        id: user.id,
        user_id: user.id,
        identity_data: {
          sub: user.id,
          email,
          email_verified: confirmedAt !== null,
          phone_verified: false,
        },
        provider: "email",
        email,
        last_sign_in_at: user.last_sign_in_at,
        created_at: user.created_at,
        updated_at: user.updated_at,
      },
    ],
    created_at: user.created_at,
    updated_at: user.updated_at,
    is_anonymous: user.is_anonymous,
  };
}

export function userNotFound(): AuthError {
  return new AuthError(404, "user_not_found", "User not found");
}

export function isBanned(user: UserRow): boolean {
  return user.banned_until !== null && user.banned_until.getTime() > Date.now();
}

export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text);
}

export function present<Row>(row: Row | undefined): Row {
  if (row === undefined) throw new Error("a statement that always gives a row gave none");
  return row;
}

function requireShort(...metadata: Metadata[]): void {
  const length = Buffer.byteLength(JSON.stringify(metadata));
  if (length > longestMetadata) {
    throw validationFailed(`Metadata of a user cannot be longer than ${longestMetadata} bytes`);
  }
}

function nullKeys(metadata: Metadata): string[] {
  return Object.keys(metadata).filter((key) => metadata[key] === null);
}

function withoutNulls(metadata: Metadata): Metadata {
  return Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== null));
}
