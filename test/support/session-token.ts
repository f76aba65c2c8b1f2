import { randomUUID } from "node:crypto";
import { importJWK, type JWK, type JWTPayload, SignJWT } from "jose";
import type { HostKeys } from "../../server/context.ts";

/** A session as auth signs it, or one that differs in a claim: `undefined` leaves the claim out. */
export async function sessionToken(
  { apiUrl, keys }: { apiUrl: string; keys: HostKeys },
  userId: string,
  claims: Record<string, unknown> = {},
): Promise<string> {
  const key = await importJWK(keys.signingJwk as JWK, "ES256");
  return await new SignJWT(sessionClaims(apiUrl, userId, claims))
    .setProtectedHeader({ alg: "ES256", typ: "JWT", kid: keys.signingJwk.kid })
    .sign(key);
}

export function sessionClaims(
  apiUrl: string,
  userId: string,
  claims: Record<string, unknown> = {},
): JWTPayload {
  const now = Math.floor(Date.now() / 1000);
  const all = {
    iss: `${apiUrl}/auth/v1`,
    sub: userId,
    aud: "authenticated",
    role: "authenticated",
    iat: now,
    exp: now + 3600,
    session_id: randomUUID(),
    ...claims,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
