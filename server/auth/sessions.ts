import { createHash, createHmac, randomBytes } from "node:crypto";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { AuthError } from "./auth-error.ts";
import { isBanned, isUuid, present, type UserRow } from "./users.ts";

export interface SessionRow {
  id: string;
  user_id: string;
  created_at: Date;
}

export interface OpenSession {
  user: UserRow;
  session: SessionRow;
  refreshToken: string;
}

export interface Device {
  userAgent: string | undefined;
  ip: string | undefined;
}

/** Two tabs may refresh with one token, or an answer be lost: for so long a used token is no sign of theft. */
const reuseSeconds = 10;
/** Refreshes that may have followed within that time. */
const longestChain = 100;

/** Starts a session for a user who was just let in by `passwordHash`. */
export async function openSession(
  sql: Sql,
  { id, passwordHash }: { id: string; passwordHash: string | null },
  { userAgent, ip }: Device,
): Promise<OpenSession> {
  // Only if the password that was checked is still the password.
  const [user] = await sql<UserRow[]>`
    update auth.users set last_sign_in_at = now(), updated_at = now()
     where id = ${id} and encrypted_password is not distinct from ${passwordHash}
    returning *`;
  if (!user) throw invalidCredentials();
  const [row] = await sql<SessionRow[]>`
    insert into auth.sessions (user_id, user_agent, ip)
    values (${id}, ${userAgent?.slice(0, 500) ?? null}, ${ip ?? null})
    returning id, user_id, created_at`;
  const session = present(row);
  const refreshToken = randomBytes(32).toString("base64url");
  await sql`
    insert into auth.refresh_tokens (token_hash, session_id, user_id)
    values (${hashOf(refreshToken)}, ${session.id}, ${id})`;
  return { user, session, refreshToken };
}

/**
 * Replaces a refresh token by its child. Guarantees: a token has one child, however many ask at once, for
 * the session's row is locked; and whoever comes with an old token ends the session, for one of two owners
 * of it is a thief.
 */
export async function refreshSession(sql: Pool, secret: string, token: string): Promise<OpenSession> {
  const outcome = await sql.transaction(async (transaction) => {
    const [session] = await transaction<(SessionRow & { over: boolean })[]>`
      select session.id, session.user_id, session.created_at,
             coalesce(session.not_after <= clock_timestamp(), false) as over
        from auth.refresh_tokens as token
        join auth.sessions as session on session.id = token.session_id
       where token.token_hash = ${hashOf(token)}
         for update of session`;
    if (!session) return refused("refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found");

    // A statement of its own: it sees what was committed while this one waited for the lock.
    const [found] = await transaction<{ id: string; revoked: boolean; lately: boolean }[]>`
      select token.id, token.revoked,
             token.updated_at > clock_timestamp() - make_interval(secs => ${reuseSeconds}) as lately
        from auth.refresh_tokens as token
       where token.token_hash = ${hashOf(token)}`;
    const [user] = await transaction<UserRow[]>`select * from auth.users where id = ${session.user_id}`;
    if (!found || !user) {
      return refused("refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found");
    }

    if (found.revoked) {
      const current = found.lately ? await descendant(transaction, secret, session.id, token) : undefined;
      if (current === undefined) {
        await endFamily(transaction, session.id);
        return refused("refresh_token_already_used", "Invalid Refresh Token: Already Used");
      }
      if (isBanned(user)) return refused("user_banned", "User is banned");
      return { user, session, refreshToken: current };
    }
    if (session.over) return refused("session_expired", "Invalid Refresh Token: Session Expired");
    if (isBanned(user)) return refused("user_banned", "User is banned");

    const refreshToken = childOf(token, secret);
    await transaction`
      update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp() where id = ${found.id}`;
    await transaction`
      insert into auth.refresh_tokens (token_hash, parent_id, session_id, user_id)
      values (${hashOf(refreshToken)}, ${found.id}, ${session.id}, ${session.user_id})`;
    await transaction`
      update auth.sessions set refreshed_at = now(), updated_at = now() where id = ${session.id}`;
    return { user, session, refreshToken };
  });
  // Outside, so that the end of a stolen family is kept.
  if (outcome instanceof AuthError) throw outcome;
  return outcome;
}

/** The token that is current now, if it grew out of this one. */
async function descendant(
  sql: Sql,
  secret: string,
  sessionId: string,
  token: string,
): Promise<string | undefined> {
  const [current] = await sql<{ token_hash: Uint8Array }[]>`
    select token_hash from auth.refresh_tokens where session_id = ${sessionId} and not revoked`;
  if (!current) return undefined;
  let candidate = token;
  for (let step = 0; step < longestChain; step++) {
    candidate = childOf(candidate, secret);
    if (hashOf(candidate).equals(current.token_hash)) return candidate;
  }
  return undefined;
}

async function endFamily(sql: Sql, sessionId: string): Promise<void> {
  await sql`
    update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp()
     where session_id = ${sessionId} and not revoked`;
  await sql`update auth.sessions set not_after = least(not_after, now()) where id = ${sessionId}`;
}

/** The session of an access token. @throws AuthError `session_not_found`, `user_not_found` */
export async function findSession(
  sql: Pool,
  userId: string,
  sessionId: unknown,
): Promise<{ user: UserRow; sessionId: string | undefined }> {
  const [user] = await sql<UserRow[]>`select * from auth.users where id = ${userId}`;
  if (!user) throw new AuthError(403, "user_not_found", "User from sub claim in JWT does not exist");
  // Tokens that somebody else signed with our secret belong to no session of ours.
  if (sessionId === undefined) return { user, sessionId: undefined };
  const known = typeof sessionId === "string" && isUuid(sessionId);
  const [session] = known
    ? await sql<{ id: string }[]>`
        select id from auth.sessions
         where id = ${sessionId} and user_id = ${userId} and (not_after is null or not_after > now())`
    : [];
  if (!session) {
    throw new AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist");
  }
  return { user, sessionId: session.id };
}

export async function endSessions(
  sql: Pool | Sql,
  userId: string,
  scope: "global" | "local" | "others",
  sessionId: string | undefined,
): Promise<void> {
  if (scope === "global") await sql`delete from auth.sessions where user_id = ${userId}`;
  else if (scope === "local") {
    await sql`delete from auth.sessions where user_id = ${userId} and id = ${sessionId ?? null}`;
  } else {
    await sql`delete from auth.sessions where user_id = ${userId} and id is distinct from ${sessionId ?? null}`;
  }
}

export function invalidCredentials(): AuthError {
  return new AuthError(400, "invalid_credentials", "Invalid login credentials");
}

function refused(code: string, message: string): AuthError {
  return new AuthError(400, code, message);
}

function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/**
 * As random as its parent to everybody without the secret. Were it drawn, only its hash would be known
 * when the second tab asks for it.
 */
function childOf(token: string, secret: string): string {
  return createHmac("sha256", secret).update(`child of refresh token ${token}`).digest("base64url");
}
